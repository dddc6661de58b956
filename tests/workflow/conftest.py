"""Fixtures of the workflow tier: real Temporal and real PostgreSQL, a worker in this process, no HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.tidy import invariants_checked
from tests.support.till import Till, a_till


@pytest.fixture(autouse=True)
async def invariants(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Every test ends quiet, with all invariants holding."""
    async with invariants_checked(request, quiet=True):
        yield


@pytest.fixture
async def till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop with holds of 15 minutes."""
    async with a_till(database_url, temporal_address, temporal_namespace) as till:
        yield till


@pytest.fixture
async def quick_till(database_url: str, temporal_address: str, temporal_namespace: str) -> AsyncIterator[Till]:
    """A shop with holds of 2 seconds, extended by 2, to at most 6."""
    async with a_till(
        database_url, temporal_address, temporal_namespace, hold_seconds=2, extension_seconds=2, maximum_seconds=6
    ) as till:
        yield till
