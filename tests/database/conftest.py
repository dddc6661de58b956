"""Fixtures of the database tier: real PostgreSQL, no Temporal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.database import Database
from domain.ids import TenantId
from tests.support import shop
from tests.support.checkouts import Rows, opened
from tests.support.tidy import invariants_checked


@pytest.fixture(autouse=True)
async def invariants(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Every test ends with all invariants holding."""
    async with invariants_checked(request, quiet=False):
        yield


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[shop.Connection]:
    """The admin role's connection to the test's database."""
    async with shop.connect(database_url) as connection:
        yield connection


@pytest.fixture
async def rows(admin: shop.Connection) -> Rows:
    return Rows(admin)


@pytest.fixture
async def tenant(admin: shop.Connection) -> TenantId:
    return await shop.make_tenant(admin)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database as the worker and the API have it."""
    async with opened(database_url) as db:
        yield db
