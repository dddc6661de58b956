"""Finding who logs in, on real PostgreSQL."""

from __future__ import annotations

import pytest

from db.database import Database
from db.passwords import hash_password, password_matches
from db.users import find_account, tenant_exists
from domain.errors import MissingTenant
from domain.ids import TenantId
from tests.support import shop


@pytest.mark.parametrize("name", ["ana", "ANA", "Ana", "ana@example.com", "ANA@Example.COM"])
async def test_a_user_is_found_by_name_or_e_mail_in_any_case(db: Database, admin: shop.Connection, name: str) -> None:
    tenant = await shop.make_tenant(admin)
    made = await shop.make_user(admin, tenant, "ana", scopes=["buyer", "admin"])
    found = await find_account(db, tenant, name)
    assert found is not None
    assert str(found.id) == made
    assert found.scopes == {"buyer", "admin"}
    assert password_matches(found.password_hash, shop.PASSWORD)


@pytest.mark.parametrize("name", ["an", "ana ", "ana%", "_na", "ana@example", "' OR '1'='1", "@", "%", "\\"])
async def test_another_name_finds_nobody(db: Database, admin: shop.Connection, name: str) -> None:
    tenant = await shop.make_tenant(admin)
    await shop.make_user(admin, tenant, "ana")
    assert await find_account(db, tenant, name) is None


async def test_a_disabled_user_is_not_found(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin)
    await shop.make_user(admin, tenant, "ana", disabled=True)
    assert await find_account(db, tenant, "ana") is None


async def test_the_same_name_is_another_user_at_another_tenant(db: Database, admin: shop.Connection) -> None:
    one, two, three = [await shop.make_tenant(admin) for _ in range(3)]
    ids = [await shop.make_user(admin, tenant, "ana") for tenant in (one, two)]
    found = [await find_account(db, tenant, "ana") for tenant in (one, two, three)]
    assert [account and str(account.id) for account in found] == [*ids, None]


async def test_a_tenant_exists_or_not(db: Database, admin: shop.Connection) -> None:
    tenant = await shop.make_tenant(admin)
    assert await tenant_exists(db, tenant)
    assert not await tenant_exists(db, TenantId("nobody"))


async def test_looking_without_a_tenant_fails_loudly(db: Database) -> None:
    with pytest.raises(MissingTenant):
        await find_account(db, TenantId(""), "ana")
    with pytest.raises(MissingTenant):
        await tenant_exists(db, TenantId(""))


def test_a_password_matches_its_own_hash_only() -> None:
    stored = hash_password("secret")
    assert password_matches(stored, "secret")
    assert not password_matches(stored, "Secret")
    assert not password_matches("no hash", "secret")
    assert hash_password("secret") != stored, "each hash has a salt of its own"
