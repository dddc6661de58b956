"""Where a run keeps its files, and which of these places the database's system user can reach."""

from __future__ import annotations

import secrets
from pathlib import Path

from local.errors import LocalError
from local.system_user import SystemUser, can_read, give, unprivileged_user

SHARED = Path("/var/lib/holdfast")


def make_folder(path: Path) -> Path:
    """Create the folder and its missing parents, open to be passed through. Folders that exist keep their rights."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    return path


def database_folder(data_dir: Path, shared: Path = SHARED) -> tuple[Path, SystemUser | None]:
    """PostgreSQL's folder for this data folder, and the user it runs as (None: we ourselves).

    It is inside the data folder where that user can reach it. Where it cannot (a project below /root), the folder is
    made below /var/lib/holdfast: rights of folders that we did not make are never changed.

    Raises LocalError when neither can be used.
    """
    data_dir = make_folder(data_dir.absolute()).resolve()
    inside = data_dir / "postgres"
    user = unprivileged_user(owner_of=inside)
    if can_read(user, data_dir):
        return _own(inside, user), user
    pointer = data_dir / "postgres-folder"
    outside = Path(pointer.read_text()) if pointer.exists() else shared / secrets.token_hex(6)
    user = unprivileged_user(owner_of=outside)
    try:
        make_folder(shared)
        reachable = can_read(user, shared)
    except OSError:
        reachable = False
    if not reachable:
        raise LocalError(
            f"PostgreSQL runs as the user `{user.name if user else ''}`, who can reach neither {data_dir} nor {shared}."
            " Set HOLDFAST_DATA_DIR to a folder outside of private ones, or start as another user than root."
        )
    _own(outside, user)
    pointer.write_text(str(outside))  # Not derived from the path: a data folder removed and made anew is a new start.
    return outside, user


def _own(folder: Path, user: SystemUser | None) -> Path:
    if not folder.exists():
        folder.mkdir()
        give(folder, user, 0o700)
    return folder
