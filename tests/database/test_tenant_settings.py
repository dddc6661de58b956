"""Tenants' settings on real PostgreSQL: read, changed with an audit row, kept apart, and never felt by live holds."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from db.database import Database, app_conninfo
from db.extend import extend
from db.reserve import reserve
from db.settle import settle
from db.tenant_settings import change_settings, read_settings
from domain.checkout import CheckoutStatus
from domain.errors import CurrencyInUse, Invalid, NotFound
from domain.ids import Actor, TenantId
from domain.messages import ExtendRequest
from domain.tenant_settings import RANGES, TENANT_MAY_CHANGE, TenantSettings, stored
from tests.support import shop
from tests.support.catalogue import audit
from tests.support.checkouts import Rows, a_start, expire

BOSS = Actor("user:boss")
TAX = {"name": "IVA", "rate_basis_points": 1900, "included": True, "valid_from": "2026-01-01"}
EVERYTHING: dict[str, Any] = {
    "name": "Corner shop", "currency": "USD", "hold_seconds": 60, "extension_seconds": 30, "maximum_seconds": 90,
    "warning_seconds": 10, "auto_extend": False, "max_lines": 5, "max_held_lines": 6, "max_checkouts_per_owner": 7,
    "max_checkouts_per_address": 8, "cooldown_seconds": 9, "late_payments": "refund", "payment_grace_seconds": 11,
    "tax_classes": [TAX], "whatsapp_number": "+573001234567",
    "language": "en", "time_zone": "America/Bogota", "brand_color": "#aa3300", "logo_text": "CORNER",
    "fiscal_series": "invoices",
}  # fmt: skip


async def only(rows: Rows, sql: str, *values: Any) -> dict[str, Any]:
    """The one row of a query."""
    [row] = await rows.all(sql, *values)
    return row


async def test_a_new_tenant_has_the_defaults(db: Database, admin: shop.Connection) -> None:
    await admin.execute("INSERT INTO tenants (id, name, currency) VALUES ('new', 'New', 'EUR')")
    assert await read_settings(db, TenantId("new")) == TenantSettings("New", "EUR")


async def test_every_setting_is_changed_read_back_and_noted_with_what_differs(
    db: Database, rows: Rows, admin: shop.Connection, tenant: TenantId
) -> None:
    assert set(EVERYTHING) == set(TENANT_MAY_CHANGE)
    await admin.execute("INSERT INTO fiscal_series (tenant_id, name, prefix) VALUES (%s, 'invoices', 'F-')", (tenant,))
    before = stored(await read_settings(db, tenant))
    after = await change_settings(db, tenant, BOSS, EVERYTHING)
    assert stored(after) == {**EVERYTHING, "disabled": False}
    assert await read_settings(db, tenant) == after
    await change_settings(db, tenant, BOSS, {"max_lines": 5, "cooldown_seconds": 0})
    was = {name: before[name] for name in EVERYTHING}
    assert await audit(rows, tenant, BOSS) == [
        ("tenant.changed", f"tenant:{tenant}", was, EVERYTHING),
        ("tenant.changed", f"tenant:{tenant}", {"cooldown_seconds": 9}, {"cooldown_seconds": 0}),
    ]


async def test_a_change_that_changes_nothing_is_not_noted(db: Database, rows: Rows, tenant: TenantId) -> None:
    await change_settings(db, tenant, BOSS, {})
    await change_settings(db, tenant, BOSS, {"hold_seconds": 900, "late_payments": "reserve"})
    assert await audit(rows, tenant, BOSS) == []


async def test_a_refused_change_leaves_all_as_it_was(db: Database, rows: Rows, tenant: TenantId) -> None:
    before = await read_settings(db, tenant)
    with pytest.raises(Invalid):
        await change_settings(db, tenant, BOSS, {"max_lines": 7, "hold_seconds": 3601})
    assert await read_settings(db, tenant) == before
    assert await audit(rows, tenant, BOSS) == []


async def test_there_are_no_settings_of_a_tenant_that_is_not_there(db: Database) -> None:
    for nobody in (read_settings(db, TenantId("nobody")), change_settings(db, TenantId("nobody"), BOSS, {})):
        with pytest.raises(NotFound):
            await nobody


async def test_changes_at_once_are_made_one_after_the_other(db: Database, rows: Rows, tenant: TenantId) -> None:
    await asyncio.gather(*(change_settings(db, tenant, BOSS, {"max_lines": number}) for number in range(1, 11)))
    noted = await audit(rows, tenant, BOSS)
    steps = [100, *(after["max_lines"] for _, _, _, after in noted)]
    assert [before["max_lines"] for _, _, before, _ in noted] == steps[:-1]
    assert (await read_settings(db, tenant)).max_lines == steps[-1]


async def test_a_change_never_alters_a_live_hold(db: Database, admin: shop.Connection, rows: Rows) -> None:
    tenant = await shop.make_tenant(admin, hold_seconds=600, extension_seconds=300, maximum_seconds=700)
    product = await shop.make_product(admin, tenant)
    held = a_start(tenant, {product: 1})
    assert (await reserve(db, held)).status is CheckoutStatus.HELD
    times = "SELECT hold_seconds, extension_seconds, maximum_seconds, currency, held_at, expires_at FROM checkouts"
    before = await only(rows, times + " WHERE id = %s", held.checkout_id)
    await change_settings(
        db, tenant, BOSS, {"hold_seconds": 10, "extension_seconds": 20, "maximum_seconds": 30, "cooldown_seconds": 60}
    )
    assert await only(rows, times + " WHERE id = %s", held.checkout_id) == before

    await extend(db, ExtendRequest(held.ref, "key"))
    moved = await only(rows, times + " WHERE id = %s", held.checkout_id)
    gained = (moved["expires_at"] - moved["held_at"]).total_seconds()
    assert gained == pytest.approx(600, abs=1)  # min(now + 300, start + 700) is before the end that it had.
    later = a_start(tenant, {product: 1})
    assert (await reserve(db, later)).status is CheckoutStatus.HELD
    new = await only(rows, times + " WHERE id = %s", later.checkout_id)
    assert (new["hold_seconds"], new["extension_seconds"], new["maximum_seconds"]) == (10, 20, 30)
    assert (new["expires_at"] - new["held_at"]).total_seconds() == pytest.approx(10, abs=0.5)


async def test_the_currency_stays_once_there_is_a_checkout_even_an_ended_one(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    product = await shop.make_product(admin, tenant)
    assert (await change_settings(db, tenant, BOSS, {"currency": "EUR"})).currency == "EUR"
    start = a_start(tenant, {product: 1})
    await reserve(db, start)
    await admin.execute("UPDATE checkouts SET expires_at = held_at WHERE id = %s", (start.checkout_id,))
    await settle(db, expire(start.ref))
    with pytest.raises(CurrencyInUse):
        await change_settings(db, tenant, BOSS, {"currency": "USD"})
    assert (await change_settings(db, tenant, BOSS, {"currency": "EUR", "max_lines": 3})).max_lines == 3


async def test_a_change_of_currency_waits_for_the_start_that_is_on_its_way(
    db: Database, admin: shop.Connection, tenant: TenantId, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as starting:
        await starting.execute(
            "INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency, hold_seconds,"
            " extension_seconds, maximum_seconds) SELECT id, gen_random_uuid(), 'user:u', 'f', 'new', currency, 1, 1, 1"
            " FROM tenants WHERE id = %s",
            (tenant,),
        )
        changing = asyncio.create_task(change_settings(db, tenant, BOSS, {"currency": "USD"}))
        await change_settings(db, tenant, BOSS, {"max_lines": 3})  # Everything else waits for no start.
        await asyncio.sleep(0.2)
        assert not changing.done()
        await starting.commit()
    with pytest.raises(CurrencyInUse):
        await changing
    assert (await read_settings(db, tenant)).currency == "COP"


async def test_a_start_waits_for_the_change_of_currency_that_is_on_its_way(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, database_url: str
) -> None:
    start = a_start(tenant, {await shop.make_product(admin, tenant): 1})
    async with await psycopg.AsyncConnection.connect(database_url) as changing:
        await changing.execute("SELECT FROM tenants WHERE id = %s FOR UPDATE", (tenant,))
        await changing.execute("UPDATE tenants SET currency = 'USD' WHERE id = %s", (tenant,))
        starting = asyncio.create_task(reserve(db, start))
        await asyncio.sleep(0.2)
        assert not starting.done()
        await changing.commit()
    assert (await starting).currency == "USD"
    assert await rows.value("SELECT currency FROM checkouts WHERE id = %s", start.checkout_id) == "USD"


@pytest.fixture
async def other(admin: shop.Connection) -> TenantId:
    return await shop.make_tenant(admin, "other")


async def as_tenant(url: str, tenant: TenantId, sql: str) -> int:
    """Hand-written SQL under the service's role, bound to a tenant; how many rows it read or wrote."""
    async with await psycopg.AsyncConnection.connect(app_conninfo(url), autocommit=True) as service:
        await service.execute("SELECT set_config('app.tenant', %s, false)", (tenant,))
        return (await service.execute(sql)).rowcount


async def test_hand_written_sql_under_the_services_role_reaches_only_ones_own_settings(
    database_url: str, rows: Rows, tenant: TenantId, other: TenantId
) -> None:
    before = await only(rows, "SELECT * FROM tenants WHERE id = %s", other)
    assert await as_tenant(database_url, tenant, "SELECT * FROM tenants") == 1
    assert await as_tenant(database_url, tenant, "UPDATE tenants SET max_lines = 1") == 1
    assert await as_tenant(database_url, tenant, "UPDATE tenants SET max_lines = 2 WHERE id = 'other'") == 0
    assert await only(rows, "SELECT * FROM tenants WHERE id = %s", other) == before


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tenants SET disabled = true",
        "UPDATE tenants SET id = 'mine'",
        "UPDATE tenants SET created_at = now()",
        "INSERT INTO tenants (id, name, currency) VALUES ('new', 'New', 'COP')",
        "DELETE FROM tenants",
    ],
)
async def test_the_services_role_may_not_make_tenants_or_lift_their_ban(
    database_url: str, tenant: TenantId, sql: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await as_tenant(database_url, tenant, sql)


@pytest.mark.parametrize("name", sorted(set(RANGES) - {"hold_seconds", "extension_seconds", "maximum_seconds"}))
async def test_the_rows_own_constraints_say_the_same(admin: shop.Connection, tenant: TenantId, name: str) -> None:
    least, most = RANGES[name]
    for good in (least, most):
        await admin.execute(f"UPDATE tenants SET {name} = %s WHERE id = %s", (good, tenant))
    for bad in (least - 1, most + 1):
        with pytest.raises(psycopg.errors.CheckViolation):
            await admin.execute(f"UPDATE tenants SET {name} = %s WHERE id = %s", (bad, tenant))


@pytest.mark.parametrize(
    "bad", ["whatsapp_number = '300123'", "late_payments = 'keep'", "tax_classes = '{}'", "tax_classes = NULL"]
)
async def test_the_rows_other_constraints_hold(admin: shop.Connection, tenant: TenantId, bad: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        await admin.execute(f"UPDATE tenants SET {bad} WHERE id = %s", (tenant,))
