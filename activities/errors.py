"""The one place where our errors become Temporal's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from temporalio.exceptions import ApplicationError

from domain.errors import HoldfastError, Unavailable

P = ParamSpec("P")
R = TypeVar("R")


def translated(activity: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let a business error end the retries, under its stable code; what is only unavailable is tried again.

    Anything unexpected passes as it is: visible in the UI, and retried, so that a repaired worker goes on.
    """

    @wraps(activity)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await activity(*args, **kwargs)
        except HoldfastError as error:
            retryable = isinstance(error, Unavailable)
            raise ApplicationError(error.detail, type=error.code, non_retryable=not retryable) from error

    return run
