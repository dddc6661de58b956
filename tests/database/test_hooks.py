"""Webhooks for tenants in the database: written with what they tell of, tried, ended, asked for again."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import Any

import pytest

from db import hook_relay
from db.database import Database
from db.hook_deliveries import ToSend, begin_try, end_delivery, note_failed_try
from db.hook_endpoints import (
    HookChanges,
    HookEndpoint,
    NewHook,
    change_hook,
    create_hook,
    delete_hook,
    list_hooks,
    read_hook,
    rotate_hook,
)
from db.hook_history import HookDelivery, list_deliveries, replay_delivery, replay_failed, send_test
from db.keyring import KeyRing, Unreadable
from db.order_refunds import decide_order_refund, order_refund_made
from db.purge import purge
from db.refunds import refund_made, refund_owed
from db.reserve import reserve
from db.settle import settle
from db.tenant_admin import rotate_secrets
from domain.checkout_events import HookKind
from domain.errors import Conflict, NotFound
from domain.hooks import MOST_ENDPOINTS, DeliveryStatus, HookRef
from domain.ids import Actor, HookDeliveryId, HookId, ProductId, TenantId
from domain.messages import StartCheckout
from tests.support import shop
from tests.support.checkouts import Rows, a_capture, a_start, cancel, confirm, expire
from tests.support.sales import OPERATOR, a_refund, a_sale

BOSS = Actor("user:boss")
EVERYTHING = [kind for kind in HookKind if kind is not HookKind.TEST]


def ring_of(*names: str) -> KeyRing:
    return KeyRing.parse(",".join(f"{one}:{base64.b64encode(one[:1].encode() * 32).decode()}" for one in names))


RING = ring_of("k1")


@pytest.fixture
async def product(admin: shop.Connection, tenant: TenantId) -> ProductId:
    return await shop.make_product(admin, tenant, stock=1000, price=1000)


async def an_endpoint(db: Database, tenant: TenantId, *kinds: HookKind) -> tuple[HookEndpoint, str]:
    new = NewHook("https://hooks.example.com/a?key=1", kinds or EVERYTHING)
    return await create_hook(db, tenant, BOSS, RING, new)


@pytest.fixture
async def hook(db: Database, tenant: TenantId) -> HookEndpoint:
    """One that asks for everything."""
    return (await an_endpoint(db, tenant))[0]


async def held(db: Database, tenant: TenantId, product: ProductId) -> StartCheckout:
    start = a_start(tenant, {product: 1})
    await reserve(db, start)
    return start


async def one_message(db: Database, tenant: TenantId, hook: HookEndpoint, product: ProductId) -> HookRef:
    await settle(db, cancel((await held(db, tenant, product)).ref))
    return ref_of(tenant, (await list_deliveries(db, tenant, hook.id))[0])


def ref_of(tenant: TenantId, delivery: HookDelivery) -> HookRef:
    return HookRef(tenant, delivery.id, delivery.replays)


async def the_one(db: Database, tenant: TenantId, hook: HookEndpoint) -> HookDelivery:
    [delivery] = await list_deliveries(db, tenant, hook.id)
    return delivery


async def last_noted(rows: Rows) -> tuple[str, str, str]:
    [row] = await rows.all("SELECT actor, action, subject FROM audit_log ORDER BY id DESC LIMIT 1")
    return row["actor"], row["action"], row["subject"]


async def test_each_kind_is_written_once_with_ids_amounts_and_states_only(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    sale = await a_sale(db, tenant, {product: 2})
    decided = await decide_order_refund(db, tenant, OPERATOR, a_refund(tenant, sale.order, 500))
    for _ in range(2):
        await settle(db, confirm(sale.start.ref, sale.capture))
        await order_refund_made(db, tenant, decided.id, "ref_1")
    given_up, over = await held(db, tenant, product), await held(db, tenant, product)
    await admin.execute(
        "UPDATE checkouts SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp()"
        " WHERE id = %s", (over.checkout_id,),
    )  # fmt: skip
    for _ in range(2):
        await settle(db, cancel(given_up.ref))
        await settle(db, expire(over.ref))
    found = {one.kind: one for one in await list_deliveries(db, tenant, hook.id)}
    assert await rows.value("SELECT count(*) FROM hook_deliveries") == len(found) == 4
    checkout = {"checkout_id": sale.start.checkout_id}
    paid = {"gateway": "sandbox", "payment_id": sale.capture.payment_id, "currency": "COP"}
    assert found[HookKind.ORDER_CONFIRMED].data == {**checkout, **paid, "order_id": sale.order, "total": 2000}
    assert found[HookKind.REFUND_MADE].data == {
        **checkout, **paid, "order_id": sale.order, "refund_id": decided.id, "amount": 500,
    }  # fmt: skip
    for kind, start in ((HookKind.HOLD_CANCELLED, given_up), (HookKind.HOLD_EXPIRED, over)):
        assert found[kind].data == {"checkout_id": start.checkout_id, "total": 1000, "currency": "COP"}
    assert {one.status for one in found.values()} == {DeliveryStatus.PENDING}


async def test_a_refund_of_money_that_matches_no_checkout_is_a_webhook_too(
    db: Database, admin: shop.Connection, tenant: TenantId, hook: HookEndpoint
) -> None:
    capture = a_capture("00000000-0000-4000-8000-000000000000", 700)  # type: ignore[arg-type]
    await admin.execute(
        "INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, kind, amount, currency, reason, refund_status,"
        " decided_at) VALUES (%s, 'sandbox', %s, 'refund', 700, 'COP', 'unmatched', 'intended', now())",
        (tenant, capture.payment_id),
    )
    owed = await refund_owed(db, tenant, capture.gateway, capture.payment_id)
    assert owed is not None
    for _ in range(2):
        await refund_made(db, tenant, owed, "r-1")
    made = await the_one(db, tenant, hook)
    assert (made.kind, made.data["checkout_id"], made.data["amount"]) == (HookKind.REFUND_MADE, None, 700)


async def test_only_who_asks_is_told_and_nobody_of_another_tenant(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId
) -> None:
    other = await shop.make_tenant(admin, "other")
    asks, _ = await an_endpoint(db, tenant, HookKind.HOLD_CANCELLED)
    asks_else, _ = await an_endpoint(db, tenant, HookKind.REFUND_MADE)
    off, _ = await an_endpoint(db, tenant)
    gone, _ = await an_endpoint(db, tenant)
    elsewhere, _ = await an_endpoint(db, other)
    await change_hook(db, tenant, BOSS, off.id, HookChanges(enabled=False))
    await delete_hook(db, tenant, BOSS, gone.id)
    await settle(db, cancel((await held(db, tenant, product)).ref))
    counts = [len(await list_deliveries(db, tenant, one.id)) for one in (asks, asks_else, off, gone)]
    assert [*counts, len(await list_deliveries(db, other, elsewhere.id))] == [1, 0, 0, 0, 0]


async def test_an_endpoint_is_made_listed_changed_and_deleted_and_the_audit_log_has_no_secret(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    made, secret = await an_endpoint(db, tenant)
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert await list_hooks(db, tenant) == [made]
    changed = await change_hook(
        db, tenant, BOSS, made.id, HookChanges("https://new.example.com/", [HookKind.REFUND_MADE], "The warehouse")
    )
    assert (changed.url, changed.kinds, changed.description, changed.enabled) == (
        "https://new.example.com/", [HookKind.REFUND_MADE], "The warehouse", True,
    )  # fmt: skip
    assert await change_hook(db, tenant, BOSS, made.id, HookChanges()) == changed
    off = await change_hook(db, tenant, BOSS, made.id, HookChanges(enabled=False))
    assert (off.enabled, off.disabled_because) == (False, "asked")
    await delete_hook(db, tenant, BOSS, made.id)
    for refused in (read_hook(db, tenant, made.id), delete_hook(db, tenant, BOSS, made.id)):
        with pytest.raises(NotFound):
            await refused
    assert await list_hooks(db, tenant) == []
    stored = await rows.all("SELECT * FROM hook_endpoints")
    assert stored[0]["secret"] is None
    noted = await rows.all("SELECT * FROM audit_log WHERE subject = %s ORDER BY id", f"hook:{made.id}")
    assert [row["action"] for row in noted] == ["hook.created", "hook.changed", "hook.changed", "hook.deleted"]
    assert {row["actor"] for row in noted} == {BOSS}
    assert secret not in str(noted)
    assert "key=1" not in str(noted)


async def test_secrets_are_stored_encrypted_and_two_sign_while_one_is_replaced(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId
) -> None:
    made, first = await an_endpoint(db, tenant)
    message = await one_message(db, tenant, made, product)
    rotated, second = await rotate_hook(db, tenant, BOSS, RING, made.id, timedelta(hours=24))
    assert rotated.previous_until is not None
    assert await signing(db, message) == [second, first]
    _, third = await rotate_hook(db, tenant, BOSS, RING, made.id, timedelta(0))
    assert await signing(db, message) == [third], "its time is over at once"
    stored = str(await rows.all("SELECT secret, previous_secret FROM hook_endpoints"))
    assert not any(secret.removeprefix("whsec_") in stored for secret in (first, second, third))


async def signing(db: Database, ref: HookRef, ring: KeyRing = RING) -> list[str]:
    begun = await begin_try(db, ring, ref)
    assert isinstance(begun, ToSend)
    return list(begun.secrets)


async def test_endpoints_secrets_are_sealed_anew_with_the_others(
    db: Database, database_url: str, tenant: TenantId, product: ProductId
) -> None:
    made, first = await an_endpoint(db, tenant)
    _, second = await rotate_hook(db, tenant, BOSS, RING, made.id, timedelta(hours=24))
    await delete_hook(db, tenant, BOSS, (await an_endpoint(db, tenant))[0].id)
    message = await one_message(db, tenant, made, product)
    done = await rotate_secrets(database_url, Actor("cli:root"), ring_of("k2", "k1"))
    assert (done.resealed, list(done.unreadable)) == (1, [])
    assert await signing(db, message, ring_of("k2")) == [second, first]
    done = await rotate_secrets(database_url, Actor("cli:root"), ring_of("k3"))
    assert [(where, name) for where, name, _ in done.unreadable] == [(tenant, f"hook/{made.id}")]
    with pytest.raises(Unreadable):
        await begin_try(db, ring_of("k3"), message)


async def test_a_tenant_has_so_many_endpoints_at_most(db: Database, tenant: TenantId) -> None:
    made = [await an_endpoint(db, tenant) for _ in range(MOST_ENDPOINTS)]
    with pytest.raises(Conflict, match=str(MOST_ENDPOINTS)):
        await an_endpoint(db, tenant)
    await delete_hook(db, tenant, BOSS, made[-1][0].id)
    await an_endpoint(db, tenant)


async def test_a_message_that_got_through_is_not_tried_again(
    db: Database, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    ref = await one_message(db, tenant, hook, product)
    assert isinstance(await begin_try(db, RING, ref), ToSend)
    assert await note_failed_try(db, ref, "answer", 500, gone=False) is None
    failed = await the_one(db, tenant, hook)
    assert (failed.status, failed.attempts, failed.answer, failed.error) == ("pending", 1, 500, "answer")
    assert (await read_hook(db, tenant, hook.id)).failing_since is not None
    await begin_try(db, RING, ref)
    for status in (DeliveryStatus.DELIVERED, DeliveryStatus.FAILED):
        await end_delivery(db, ref, status, answer=200 if status is DeliveryStatus.DELIVERED else None)
    done = await the_one(db, tenant, hook)
    assert (done.status, done.attempts, done.answer, done.error) == ("delivered", 2, 200, None)
    assert (await read_hook(db, tenant, hook.id)).failing_since is None, "it works"
    assert await begin_try(db, RING, ref) is DeliveryStatus.DELIVERED


async def test_a_message_for_an_endpoint_that_is_disabled_or_deleted_ends_unsent(
    db: Database, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    first, second = [await one_message(db, tenant, hook, product) for _ in range(2)]
    await change_hook(db, tenant, BOSS, hook.id, HookChanges(enabled=False))
    assert await begin_try(db, RING, first) is DeliveryStatus.FAILED
    await delete_hook(db, tenant, BOSS, hook.id)
    assert await begin_try(db, RING, second) is DeliveryStatus.FAILED
    assert {one.error for one in await list_deliveries(db, tenant, hook.id)} == {"disabled", "deleted"}


async def test_an_endpoint_that_fails_for_days_is_disabled_once_and_the_audit_log_says_so(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    refs = [await one_message(db, tenant, hook, product) for _ in range(3)]
    assert await note_failed_try(db, refs[0], "timeout", None, gone=False) is None
    await admin.execute("UPDATE hook_endpoints SET failing_since = failing_since - interval '5 days' + interval '5 s'")
    assert await note_failed_try(db, refs[0], "timeout", None, gone=False) is None
    await admin.execute("UPDATE hook_endpoints SET failing_since = failing_since - interval '5 s'")
    told = await asyncio.gather(*(note_failed_try(db, ref, "timeout", None, gone=False) for ref in refs))
    assert sorted(told, key=str) == sorted([None, None, hook.id], key=str), "one of them tells of it"
    off = await read_hook(db, tenant, hook.id)
    assert (off.enabled, off.disabled_because) == (False, "failing")
    assert await last_noted(rows) == ("system:hooks", "hook.disabled", f"hook:{hook.id}")
    on = await change_hook(db, tenant, BOSS, hook.id, HookChanges(enabled=True))
    assert (on.enabled, on.disabled_because, on.failing_since) == (True, None, None)


async def test_an_endpoint_that_says_it_is_gone_is_disabled_at_once(
    db: Database, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    ref = await one_message(db, tenant, hook, product)
    assert await note_failed_try(db, ref, "answer", 410, gone=True) == hook.id
    assert (await read_hook(db, tenant, hook.id)).disabled_because == "gone"


async def test_a_replay_takes_the_message_from_the_run_that_had_it(
    db: Database, rows: Rows, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    ref = await one_message(db, tenant, hook, product)
    await end_delivery(db, ref, DeliveryStatus.FAILED, "tried_for_days")
    await replay_delivery(db, tenant, BOSS, hook.id, ref.delivery_id)
    again = await the_one(db, tenant, hook)
    assert (again.status, again.replays, again.ended_at) == ("pending", 1, None)
    assert await begin_try(db, RING, ref) is None, "superseded"
    await end_delivery(db, ref, DeliveryStatus.DELIVERED, answer=200)
    assert (await the_one(db, tenant, hook)).status == "pending", "what the older run hears is not the newer's"
    assert isinstance(await begin_try(db, RING, ref_of(tenant, again)), ToSend)
    assert await last_noted(rows) == (BOSS, "hook.replayed", f"hook_delivery:{ref.delivery_id}")


async def test_all_that_failed_is_replayed_and_nothing_else(
    db: Database, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    refs = [await one_message(db, tenant, hook, product) for _ in range(3)]
    await end_delivery(db, refs[0], DeliveryStatus.DELIVERED, answer=200)
    await end_delivery(db, refs[1], DeliveryStatus.FAILED, "tried_for_days")
    assert await replay_failed(db, tenant, BOSS, hook.id) == 1
    replays = {one.id: one.replays for one in await list_deliveries(db, tenant, hook.id)}
    assert [replays[ref.delivery_id] for ref in refs] == [0, 1, 0]
    assert await replay_failed(db, tenant, BOSS, hook.id) == 0


async def test_what_is_not_there_or_disabled_cannot_be_sent_to(
    db: Database, admin: shop.Connection, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    ref = await one_message(db, tenant, hook, product)
    other = await shop.make_tenant(admin, "other")
    nowhere = HookId("00000000-0000-4000-8000-000000000000")
    for refused in (
        replay_delivery(db, other, BOSS, hook.id, ref.delivery_id),
        replay_delivery(db, tenant, BOSS, nowhere, ref.delivery_id),
        replay_delivery(db, tenant, BOSS, hook.id, HookDeliveryId(nowhere)),
        replay_failed(db, other, BOSS, hook.id),
        send_test(db, tenant, nowhere, HookDeliveryId(nowhere)),
    ):
        with pytest.raises(NotFound):
            await refused
    await change_hook(db, tenant, BOSS, hook.id, HookChanges(enabled=False))
    with pytest.raises(Conflict, match="disabled"):
        await replay_failed(db, tenant, BOSS, hook.id)


async def test_deliveries_are_listed_newest_first_page_by_page_and_by_status(
    db: Database, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    refs = [await one_message(db, tenant, hook, product) for _ in range(5)]
    await end_delivery(db, refs[2], DeliveryStatus.FAILED, "tried_for_days")
    pages: list[Any] = []
    before = None
    while page := await list_deliveries(db, tenant, hook.id, limit=2, before=before):
        pages += [one.id for one in page]
        before = page[-1].id
    assert pages == [ref.delivery_id for ref in reversed(refs)]
    [failed] = await list_deliveries(db, tenant, hook.id, status=DeliveryStatus.FAILED)
    assert failed.id == refs[2].delivery_id


async def test_the_relay_finds_what_is_new_asked_for_again_or_lost_and_nothing_else(
    db: Database, admin: shop.Connection, database_url: str, tenant: TenantId, product: ProductId, hook: HookEndpoint
) -> None:
    refs = [await one_message(db, tenant, hook, product) for _ in range(3)]
    connection = await hook_relay.connect(database_url)
    async with connection:
        assert await hook_relay.to_wake(connection) == refs
        assert await hook_relay.to_wake(connection, 2) == refs[:2]
        await hook_relay.put_off(connection, refs)
        assert await hook_relay.to_wake(connection) == []
        await end_delivery(db, refs[0], DeliveryStatus.FAILED, "tried_for_days")
        await replay_delivery(db, tenant, BOSS, hook.id, refs[0].delivery_id)
        again = HookRef(tenant, refs[0].delivery_id, 1)
        assert await hook_relay.to_wake(connection) == [again]
        await hook_relay.put_off(connection, [refs[0]])
        assert await hook_relay.to_wake(connection) == [again], "what was put off was another replay"
        await hook_relay.put_off(connection, [again])
        await admin.execute("UPDATE hook_deliveries SET wake_at = now() - interval '1 s' WHERE id = %s",
                            (refs[1].delivery_id,))  # fmt: skip
        assert await hook_relay.to_wake(connection) == [refs[1]], "nobody has tried it for half a day"
        await begin_try(db, RING, refs[1])
        assert await hook_relay.to_wake(connection) == []


async def test_old_events_and_deliveries_are_forgotten_and_what_waits_is_not(
    db: Database, admin: shop.Connection, rows: Rows, database_url: str, tenant: TenantId, product: ProductId,
    hook: HookEndpoint,
) -> None:  # fmt: skip
    done, waits = [await one_message(db, tenant, hook, product) for _ in range(2)]
    await end_delivery(db, done, DeliveryStatus.DELIVERED, answer=200)
    assert (await purge(database_url)).events == 0
    await admin.execute("UPDATE hook_deliveries SET at = at - interval '31 days'")
    await admin.execute("UPDATE checkout_events SET at = at - interval '91 days' WHERE seq = 1")
    assert (await purge(database_url, batch=1)).events == 3
    assert [one.id for one in await list_deliveries(db, tenant, hook.id)] == [waits.delivery_id]
    assert await rows.all("SELECT seq, kind FROM checkout_events") == [{"seq": 2, "kind": "cancelled"}] * 2
