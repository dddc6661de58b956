"""One running sandbox gateway: its database, its sender, and what it was told to do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from fastapi.responses import PlainTextResponse, Response

from local.gateway.config import GatewayConfig
from local.gateway.database import Database
from local.gateway.errors import Refused
from local.gateway.schemas import Act, Behaviour, Faults
from local.gateway.sender import Sender

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Sandbox:
    """Behaviour and faults are kept in memory only: a restart makes the gateway well-behaved again."""

    def __init__(self, config: GatewayConfig, database: Database, sender: Sender) -> None:
        self._config, self._database, self._sender = config, database, sender
        self.behaviour, self.faults = Behaviour(), Faults()
        self.public_url = config.public_url

    async def run(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Do one piece of work in a transaction, then send what webhooks it caused."""
        result = await self._database.run(work, *args, **kwargs)
        self._sender.wake()
        return result

    async def read(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """As `run`, for work that causes no webhooks."""
        return await self._database.run(work, *args, **kwargs)

    def behaviour_of(self, action: Act | None) -> Behaviour:
        """What this action asks for, else what PUT /behaviour said."""
        return self.behaviour if action is None or action.behaviour is None else action.behaviour

    async def failing(
        self, fault: str | None, act: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any] | Response:
        """What `act` answers, spoilt as `fault` says."""
        if fault == "down":
            raise Refused(503, "down", "The gateway was told to be down")
        if fault == "garbage":
            return PlainTextResponse("<html>\x00 something that is not JSON")
        if fault == "slow":
            await asyncio.sleep(self._config.fault_delay)
        answer = await act()
        if fault == "timeout_after_acting":
            await asyncio.sleep(self._config.fault_delay)
        return answer


@contextlib.asynccontextmanager
async def running(config: GatewayConfig) -> AsyncIterator[Sandbox]:
    """A gateway that has its database open and delivers webhooks while the block runs."""
    database = await asyncio.to_thread(Database, config.database)
    try:
        sender = Sender(config, database)
        async with sender.running():
            yield Sandbox(config, database, sender)
    finally:
        await asyncio.to_thread(database.close)
