"""Run as a script between us and a child: gives up root's rights, ties the child's life to ours, becomes the child.

    python -I -S child.py <parent pid> <signal when the parent dies> <uid or -> <gid or -> <program> [argument ...]

A script and not subprocess's preexec_fn, which is unsafe in a process with threads. It imports nothing of ours, since
the user it becomes may not be able to read our folder.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid = sys.argv[1:5]
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))  # After setuid, which would clear it.
    if os.getppid() != int(parent):  # It died before we asked to be told.
        sys.exit(1)
    os.execv(sys.argv[5], sys.argv[5:])  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main()
