"""What a handler leaves for `run` to answer."""

from __future__ import annotations

from dataclasses import dataclass

from domain.messages import Answered, CancelUpdate, Capture, ConfirmUpdate, ExtendUpdate, LinesUpdate


@dataclass
class Request:
    """One waiting update; `capture` is a confirm's evidence. `run` fills in the answer."""

    update: ConfirmUpdate | ExtendUpdate | LinesUpdate | CancelUpdate
    capture: Capture | None = None
    answered: Answered | None = None
