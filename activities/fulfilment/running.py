"""Doing one step: an attempt is counted, the work done, the end written; whoever comes later finds it ended.

The effect comes before the row says so: it happens at least once, and is named by the step's key, so that whoever can
tell a repeat does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from structlog import stdlib
from temporalio.exceptions import ApplicationError

from activities.fulfilment.outcomes import Never, NotYet
from db.database import Database
from db.fulfilment_steps import begin_step, end_step, note_error
from domain.errors import HoldfastError
from domain.fulfilment import StepRequest, StepResult, StepStatus

_log = stdlib.get_logger("fulfilment")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work ended. `reason`: why it was skipped. `detail`: ids and counts, never personal data."""

    status: StepStatus = StepStatus.DONE
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


def skipped(reason: str) -> Ended:
    """There was nothing to do."""
    return Ended(StepStatus.SKIPPED, reason)


async def run_step(db: Database, request: StepRequest, work: Callable[[], Awaitable[Ended]]) -> StepResult:
    """Do the work unless the step has ended; how it stands then.

    Raises NotFound for no such order, and ApplicationError (to be tried again) for what went wrong. Its text, which
    Temporal keeps, is ours: other errors' texts may hold what buyers wrote, so only their kind is told.
    """
    begun = await begin_step(db, request)
    if begun.status is not StepStatus.PENDING:
        return begun.result
    ended = await _attempt(request, work)
    if isinstance(ended, str):
        await note_error(db, request, ended)
        raise ApplicationError(ended, type="fulfilment_step")
    row = await end_step(db, request, ended.status, ended.reason, ended.detail)
    _log.info("step_ended", key=request.key, status=row.status.value, reason=row.reason)
    return row.result


async def _attempt(request: StepRequest, work: Callable[[], Awaitable[Ended]]) -> Ended | str:
    """How the work ended, or what went wrong. An error is left behind here: chained, Temporal would keep its text."""
    try:
        return await work()
    except Never as never:
        return Ended(StepStatus.FAILED, never.reason)
    except Exception as error:  # noqa: BLE001  # Whatever it is: it is noted, and tried again.
        failure = describe(error)
        _log.warning("step_failed", key=request.key, error=failure, where=_where(error))
        return failure


def describe(error: Exception) -> str:
    """What may be kept of an error: our own words, or only its kind."""
    if isinstance(error, NotYet | HoldfastError):
        return str(error)
    return type(error).__name__


def _where(error: Exception) -> str:
    """File and line, which say nothing of what was in hand."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""
