"""Processor time, as Linux counts it: unlike a rate, it hardly depends on what else the machine does."""

from __future__ import annotations

import os
from pathlib import Path

from local.processes import descendants

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """What a process and all below it have used so far, those that have ended included."""
    return sum(_own(each) for each in (pid, *descendants(pid)))


def _own(pid: int) -> float:
    """User and system time, of itself and of children that ended (proc(5), fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
