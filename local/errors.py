"""What can go wrong on a developer's machine and a person can put right: each message says how."""

from __future__ import annotations


class LocalError(Exception):
    """The launcher cannot go on. The message is for a person and says what to change."""


class ServerDidNotStart(LocalError):
    """A server stopped, or was not ready in time. The message ends with the last lines of its log."""


class PortBusy(LocalError):
    """Another program listens on a port we need."""
