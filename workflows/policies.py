"""Timeouts and retry policies, by name. Their order is asserted by a test (see db/database.py for the database's)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

TASK_TIMEOUT = timedelta(seconds=4)
"""A killed worker costs its open workflow tasks this long."""
LOCAL_START_TO_CLOSE = timedelta(seconds=2.5)
"""Below 80 % of the task timeout, so that a slow attempt does not turn into heartbeats."""
LOCAL_SCHEDULE_TO_CLOSE = timedelta(seconds=4)
LOCAL_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=2)
CLIENT_DEADLINE = timedelta(seconds=5)
"""How long a caller waits for a start."""


@dataclass(frozen=True)
class Patience:
    """How long a regular activity is tried: one attempt, the pauses, and all of it together (None: without limit)."""

    attempt: timedelta
    retry: RetryPolicy
    altogether: timedelta | None = None


FALLBACK = Patience(
    timedelta(seconds=10),
    RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5)),
)
"""What a local activity becomes when it fails: the same function, retried without limit, visible in the UI."""

WHILE_A_CLIENT_WAITS = Patience(
    timedelta(seconds=5),
    RetryPolicy(initial_interval=timedelta(milliseconds=300), maximum_attempts=3),
    altogether=timedelta(seconds=15),
)
"""A gateway that says at once that it cannot is asked again twice within the two seconds in which the client gets its
answer (503, try again); a slow one is asked for longer, and the client hears 202."""

UNTIL_IT_SPEAKS = Patience(
    timedelta(seconds=5), RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=10))
)

WAITS_FOR_CAPTURE = timedelta(hours=72)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
"""How long a late payment that is still on its way is waited for since we heard of it, and the pauses between two
questions, which double. A webhook ends them."""

UNTIL_IT_PAYS = Patience(
    timedelta(seconds=15), RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(hours=1))
)
"""Money is owed: asked for days with growing pauses, never dropped."""

TELL_REFUND = Patience(
    timedelta(seconds=90),
    RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(hours=1)),
    altogether=timedelta(days=3),
)

REPAIR = Patience(timedelta(minutes=4), RetryPolicy(maximum_attempts=3))

ASKING = Patience(
    timedelta(seconds=30), RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
)
"""One question to the gateways about a checkout's payments. A gateway's silence is an answer; this is for our own."""
FIRST_QUESTION_PAUSE, LONGEST_QUESTION_PAUSE = timedelta(seconds=1), timedelta(minutes=5)
"""Between two questions while a hold's end waits for a payment; they double."""
PAUSES_AFTERWARDS = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 4, 8, 15, 30))
"""Once the checkout is over and a gateway is silent. What stays open is found by its webhooks, or by comparing."""
