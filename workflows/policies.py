"""Timeouts and retry policies, by name. Their order is asserted by a test (see db/database.py for the database's)."""

from __future__ import annotations

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

FALLBACK_START_TO_CLOSE = timedelta(seconds=10)
FALLBACK_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5))
"""What a local activity becomes when it fails: the same function, retried without limit, visible in the UI."""

VERIFY_START_TO_CLOSE = timedelta(seconds=5)
VERIFY_SCHEDULE_TO_CLOSE = timedelta(seconds=15)
VERIFY_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=300), maximum_attempts=3)
"""A client waits for this one: a gateway that says at once that it cannot is asked again twice within the two seconds
in which the client gets its answer (503, try again); a slow one is asked for longer, and the client hears 202."""

LATE_VERIFY_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=10))
REFUND_START_TO_CLOSE = timedelta(seconds=15)
REFUND_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(hours=1))
"""Money is owed: asked for days with growing pauses, never dropped."""

REPAIR_START_TO_CLOSE = timedelta(minutes=4)
REPAIR_RETRY = RetryPolicy(maximum_attempts=3)
