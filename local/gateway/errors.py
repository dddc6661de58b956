"""What the gateway answers when it says no."""

from __future__ import annotations


class Refused(Exception):
    """`status` is the HTTP status, `code` for programs, `detail` for people."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def not_found(what: str) -> Refused:
    """404 for something that is not there."""
    return Refused(404, "not_found", f"There is no such {what}")


def conflict(detail: str) -> Refused:
    """409 for something that the payment's state does not allow."""
    return Refused(409, "conflict", detail)
