"""Structured logs. Ids, amounts and states only: no token, body, name or e-mail is ever given to a logger.

The logs `auth` (logins, refreshes, logouts) and `security` (refused tokens and hosts, limits hit, revocations) are
apart from the others: with a folder, each has a file of its own, for whoever watches over the installation.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Literal, cast

import structlog
from structlog.typing import EventDict, Processor

OWN_FILES = ("auth", "security")
"""Loggers (`structlog.stdlib.get_logger(name)`) whose lines carry `log`, and go to `<name>.log` in the folder."""


class LogsCannotBeWritten(ValueError):
    """The folder for logs is not there and cannot be made, or a file in it cannot be written."""


def configure(log_format: Literal["json", "console"], level: int = logging.INFO, folder: Path | None = None) -> None:
    """Send structlog's lines to standard output, as JSON lines or for people; those of OWN_FILES to `folder`, if given,
    as JSON lines always. Raises LogsCannotBeWritten."""
    files = _open_files(folder) if folder is not None else {}
    _close_files()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Renderer(log_format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Loggers(files),
        cache_logger_on_first_use=False,
    )


class _File(WatchedFileHandler):
    """Appends lines to a file that only we may read, and that another program (logrotate) may move away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")

    def _open(self) -> io.TextIOWrapper:
        return cast("io.TextIOWrapper", open(self.baseFilename, self.mode, encoding="utf-8", opener=_private))


class _Printer(structlog.PrintLogger):
    """Standard output, under a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class _FileLogger:
    """What structlog wraps: each method writes one line."""

    def __init__(self, name: str, file: _File) -> None:
        self.name, self.file = name, file

    def msg(self, line: str) -> None:
        self.file.handle(logging.makeLogRecord({"msg": line}))

    debug = info = warning = error = critical = fatal = failure = exception = log = warn = err = msg


class _Loggers:
    """structlog's logger factory."""

    def __init__(self, files: Mapping[str, _File]) -> None:
        self.files = files

    def __call__(self, *names: str) -> _Printer | _FileLogger:
        name = names[0] if names else ""
        return _FileLogger(name, self.files[name]) if name in self.files else _Printer(name)


class _Renderer:
    """The last processor: the event as a line of its log."""

    def __init__(self, log_format: Literal["json", "console"]) -> None:
        console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        self._json = structlog.processors.JSONRenderer()
        self._printed: Processor = console if log_format == "console" else self._as_json

    def __call__(self, logger: _Printer | _FileLogger, method: str, event: EventDict) -> str:
        if logger.name in OWN_FILES:
            event["log"] = logger.name
        render = self._as_json if isinstance(logger, _FileLogger) else self._printed
        return str(render(logger, method, event))

    def _as_json(self, logger: object, method: str, event: EventDict) -> str:
        # Tracebacks without local variables, which hold what must not be logged.
        return str(self._json(logger, method, structlog.processors.format_exc_info(logger, method, event)))


def _open_files(folder: Path) -> dict[str, _File]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {name: _File(folder / f"{name}.log") for name in OWN_FILES}
    except OSError as error:
        raise LogsCannotBeWritten(f"HOLDFAST_LOG_DIR: {error.strerror}: {error.filename}") from None


def _close_files() -> None:
    """Those of an earlier configuration, in tests."""
    factory = structlog.get_config()["logger_factory"]
    if isinstance(factory, _Loggers):
        for file in factory.files.values():
            file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
