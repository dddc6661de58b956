"""The invariants, checked after every test that had a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from db.invariants import check


@asynccontextmanager
async def invariants_checked(request: pytest.FixtureRequest, *, quiet: bool) -> AsyncIterator[None]:
    """Fail the test when its database breaks an invariant at the end; nothing for a test without one.

    `quiet`: the test leaves nothing in flight, so nothing may be unfinished either. A test that breaks invariants on
    purpose makes its own database with `servers.create_database`.
    """
    if "database_url" not in request.fixturenames:
        yield
        return
    url: str = request.getfixturevalue("database_url")
    yield
    assert await check(url, quiet=quiet) == []
