"""Whom a server runs as when we are root: PostgreSQL refuses to run as root, rightly."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class SystemUser:
    """An unprivileged user of this machine."""

    name: str
    uid: int
    gid: int


def unprivileged_user(owner_of: Path) -> SystemUser | None:
    """The user to become: the owner of `owner_of` when it exists (an earlier run chose), else one the system has.

    None when we are not root, so that there is nobody to become.
    """
    if os.geteuid() != 0:
        return None
    if owner_of.exists() and (uid := owner_of.stat().st_uid) != 0:
        return _user(pwd.getpwuid(uid))
    for name in _CANDIDATES:
        try:
            return _user(pwd.getpwnam(name))
        except KeyError:
            continue
    raise LocalError(
        "PostgreSQL does not run as root, and this system has no user `postgres` or `nobody`: start as another user"
    )


def _user(entry: pwd.struct_passwd) -> SystemUser:
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def can_read(user: SystemUser | None, path: Path) -> bool:
    """Whether the user reaches and reads this path; asked of the system itself, as that user."""
    if user is None:
        return os.access(path, os.R_OK)
    asked = subprocess.run(
        ["/usr/bin/test", "-r", str(path)], user=user.uid, group=user.gid, extra_groups=[], cwd="/", check=False
    )
    return asked.returncode == 0


def give(path: Path, user: SystemUser | None, mode: int) -> None:
    """Set the rights of something we made ourselves: never call this on a folder that was there before."""
    if user is not None:
        os.chown(path, user.uid, user.gid)
    path.chmod(mode)
