"""API, worker and gateway as processes, on the session's servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, running_fleet


@pytest.fixture
async def fleet(
    database_url: str, temporal_address: str, temporal_namespace: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A fleet of the test's own database and namespace."""
    async with running_fleet(database_url, temporal_address, tmp_path, namespace=temporal_namespace) as one:
        yield one
