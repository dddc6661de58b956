"""How a step's work can go wrong, without a word of personal data: these texts are kept, logged and shown."""

from __future__ import annotations


class NotYet(Exception):
    """It did not work now; the same may work later, so it is tried again."""


class Never(Exception):
    """It will not work however often it is tried. `reason`: a code such as `mail_refused_550`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
