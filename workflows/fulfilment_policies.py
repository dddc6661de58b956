"""The steps of fulfilment as activities: which, for how long, and what the UI calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

from activities import names
from domain.fulfilment import Step
from workflows.policies import FALLBACK, Patience

_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=2), backoff_coefficient=2.0, maximum_interval=timedelta(hours=1)
)
_DAYS = timedelta(days=5)
"""As mail servers try (RFC 5321, section 4.5.4.1)."""


@dataclass(frozen=True)
class Way:
    """How a step is done."""

    activity: str
    patience: Patience
    summary: str


def _for_days(attempt: timedelta) -> Patience:
    return Patience(attempt, _RETRY, _DAYS)


STEPS: Mapping[Step, Way] = {
    Step.PDF: Way(names.MAKE_TICKETS, _for_days(timedelta(seconds=120)), "Make the tickets"),
    Step.MAIL: Way(names.SEND_CONFIRMATION, _for_days(timedelta(seconds=90)), "Send the confirmation"),
    Step.TICKETS: Way(names.SEND_TICKETS, _for_days(timedelta(seconds=90)), "Send the tickets after it"),
    Step.NOTIFY: Way(names.NOTIFY_BUYER, _for_days(timedelta(seconds=30)), "Notify the buyer's phone"),
    Step.STATISTICS: Way(names.COUNT_ORDER, Patience(timedelta(seconds=15), _RETRY), "Count the order"),
}
CLOSING: Mapping[str, Way] = {
    names.GIVE_UP_STEP: Way(names.GIVE_UP_STEP, FALLBACK, "Give up a step"),
    names.CLOSE_FULFILMENT: Way(names.CLOSE_FULFILMENT, FALLBACK, "Mark the order as fulfilled"),
}
"""Tried without limit: an outage of the database ends some day."""
MAIL_WAITS = timedelta(minutes=5)
"""For the tickets. Then the confirmation goes without them, and they follow."""
