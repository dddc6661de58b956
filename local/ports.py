"""Ports of this machine's loopback address."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from local.errors import PortBusy

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port nobody listens on now. Someone may take it before its user does: callers bind soon."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_busy(port: int) -> bool:
    """Whether a listener has this port on loopback or on every address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
        return False


def refuse_busy_ports(needed: Mapping[str, tuple[str, int]]) -> None:
    """Check ports before anything starts. `needed`: environment variable → (what it is for, port).

    Raises PortBusy with one line for each busy port, and one for each port given twice.
    """
    problems = []
    seen: dict[int, str] = {}
    for variable, (purpose, port) in needed.items():
        if port in seen:
            problems.append(f"{variable} and {seen[port]} are both {port}: set one of them to another port")
        elif is_busy(port):
            problems.append(f"port {port} ({purpose}) is in use by another program: set {variable} to a free port")
        seen[port] = variable
    if problems:
        raise PortBusy("\n".join(problems))
