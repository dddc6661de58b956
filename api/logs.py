"""Structured logs. Ids, amounts and states only: no token, body, name or e-mail is ever given to a logger."""

from __future__ import annotations

import logging
from typing import Literal

import structlog


def configure(log_format: Literal["json", "console"], level: int = logging.INFO) -> None:
    """Send structlog's lines to standard output, as JSON lines or for people."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        # Tracebacks without local variables, which hold what must not be logged.
        shared += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        shared.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
