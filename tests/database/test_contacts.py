"""Where a buyer can be written to: his own checkout's only, while there is use for it, and not for ever."""

from __future__ import annotations

import pytest

from db.contacts import Contact, put_contact, read_contact
from db.database import Database
from db.purge import CONTACT_DAYS, purge
from db.settle import settle
from domain.ids import BuyerKey, CheckoutId, TenantId
from tests.support import shop
from tests.support.checkouts import BUYER, Rows, cancel
from tests.support.sold import held, sold

ANA = Contact("ana@example.com", "+573001234567", "Ana Gómez", "en")
NOWHERE = CheckoutId("00000000-0000-4000-8000-000000000000")


async def test_a_contact_is_kept_and_replaced_as_a_whole(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    start = await held(db, tenant, await shop.make_product(admin, tenant))
    assert await read_contact(db, tenant, start.checkout_id) == Contact()
    for contact in (ANA, Contact(phone="+15550100"), Contact()):
        assert await put_contact(db, tenant, start.checkout_id, BUYER, contact) == "held"
        assert await read_contact(db, tenant, start.checkout_id) == contact


async def test_it_may_still_be_said_once_the_order_is_made(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    start, _ = await sold(db, tenant, await shop.make_product(admin, tenant))
    assert await put_contact(db, tenant, start.checkout_id, BUYER, ANA) == "held"
    assert await read_contact(db, tenant, start.checkout_id) == ANA


async def test_nothing_is_kept_of_a_checkout_that_is_over(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    start = await held(db, tenant, await shop.make_product(admin, tenant))
    await settle(db, cancel(start.ref))
    assert await put_contact(db, tenant, start.checkout_id, BUYER, ANA) == "cancelled"
    assert await rows.all("SELECT * FROM checkout_contacts") == []


async def test_it_can_be_said_of_ones_own_checkout_only(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId
) -> None:
    start = await held(db, tenant, await shop.make_product(admin, tenant))
    other = await shop.make_tenant(admin)
    for where, checkout, buyer in (
        (tenant, start.checkout_id, BuyerKey("user:somebody-else")),
        (tenant, NOWHERE, BUYER),
        (other, start.checkout_id, BUYER),
    ):
        assert await put_contact(db, where, checkout, buyer, ANA) is None
    assert await rows.all("SELECT * FROM checkout_contacts") == []
    assert await read_contact(db, other, start.checkout_id) is None


async def test_a_user_is_written_to_at_his_own_address_unless_he_says_another(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    user = BuyerKey(f"user:{await shop.make_user(admin, tenant, 'luis')}")
    start = await held(db, tenant, await shop.make_product(admin, tenant), buyer=user)
    assert await read_contact(db, tenant, start.checkout_id) == Contact("luis@example.com")
    await put_contact(db, tenant, start.checkout_id, user, Contact(name="Luis", language="es"))
    assert await read_contact(db, tenant, start.checkout_id) == Contact("luis@example.com", None, "Luis", "es")
    await put_contact(db, tenant, start.checkout_id, user, ANA)
    assert await read_contact(db, tenant, start.checkout_id) == ANA


async def test_a_user_of_another_issuer_has_no_address_here(
    db: Database, admin: shop.Connection, tenant: TenantId
) -> None:
    start = await held(db, tenant, await shop.make_product(admin, tenant), buyer=BuyerKey("user:auth0|5f7c"))
    assert await read_contact(db, tenant, start.checkout_id) == Contact()


def test_nothing_shows_who_it_is() -> None:
    assert repr(ANA) == "Contact(language='en')"


@pytest.mark.parametrize(("days", "gone"), [(CONTACT_DAYS - 1, 0), (CONTACT_DAYS + 1, 1)])
async def test_it_is_deleted_when_it_is_old_unless_the_hold_lives(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, database_url: str, days: int, gone: int
) -> None:
    product = await shop.make_product(admin, tenant)
    live = await held(db, tenant, product)
    over, _ = await sold(db, tenant, product)
    for start in (live, over):
        await put_contact(db, tenant, start.checkout_id, BUYER, ANA)
    await admin.execute("UPDATE checkout_contacts SET updated_at = now() - make_interval(days => %s)", (days,))
    assert (await purge(database_url)).contacts == gone
    assert len(await rows.all("SELECT * FROM checkout_contacts")) == 2 - gone
    assert await read_contact(db, tenant, live.checkout_id) == ANA
