"""What we note of payments: news come in any order, and the last word is the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations

import pytest

from db.database import Database
from db.inbox import record_event
from db.payments import note_payment
from domain.gateway import GatewayPayment, PaymentEvent, PaymentStatus
from domain.ids import CheckoutId, EventId, GatewayName, PaymentId, TenantId
from tests.support.checkouts import Rows

GATEWAY, CHECKOUT = GatewayName("sandbox"), CheckoutId("6e1f6c0e-3f0f-5a0e-9a53-0d1f5a1de0fa")
S = PaymentStatus


def said(status: PaymentStatus, amount: int = 500) -> GatewayPayment:
    refunded = amount if status is S.REFUNDED else 0
    return GatewayPayment(GATEWAY, PaymentId("pay_1"), CHECKOUT, status, amount, "COP", refunded, None)


async def stand(rows: Rows) -> tuple[str, int]:
    [row] = await rows.all("SELECT status, amount FROM payments")
    return row["status"], row["amount"]


@pytest.mark.parametrize("order", list(permutations((S.CREATED, S.PROCESSING, S.CAPTURED, S.EXPIRED))))
async def test_a_capture_is_the_last_word_in_whatever_order_the_news_come(
    db: Database, rows: Rows, tenant: TenantId, order: tuple[PaymentStatus, ...]
) -> None:
    for status in order:
        await note_payment(db, tenant, said(status))
    assert await stand(rows) == ("captured", 500)


async def test_a_buyer_may_fail_and_try_again(db: Database, rows: Rows, tenant: TenantId) -> None:
    seen = []
    for status in (S.CREATED, S.PROCESSING, S.FAILED, S.CREATED, S.PROCESSING, S.CAPTURED, S.FAILED, S.REFUNDED):
        await note_payment(db, tenant, said(status))
        seen.append((await stand(rows))[0])
    assert seen == [
        "created", "processing", "failed", "failed", "processing", "captured", "captured", "refunded"
    ]  # fmt: skip


async def test_the_same_news_twice_change_nothing(db: Database, rows: Rows, tenant: TenantId) -> None:
    await note_payment(db, tenant, said(S.CAPTURED))
    before = await rows.all("SELECT * FROM payments")
    await note_payment(db, tenant, said(S.CAPTURED))
    assert await rows.all("SELECT * FROM payments") == before


async def test_an_event_notes_its_payment_and_a_refund_in_part_leaves_it_captured(
    db: Database, rows: Rows, tenant: TenantId
) -> None:
    event = PaymentEvent(
        GATEWAY, EventId("evt_1"), S.CREATED, PaymentId("pay_1"), CHECKOUT, 500, "COP", datetime.now(UTC)
    )
    await record_event(db, tenant, event, b"{}")
    assert await stand(rows) == ("created", 500)
    await record_event(db, tenant, replace(event, event_id=EventId("evt_2"), kind=S.REFUNDED), b"{}")
    assert await stand(rows) == ("captured", 500)


async def test_no_payment_is_noted_for_a_tenant_that_there_is_not(db: Database, rows: Rows) -> None:
    await note_payment(db, TenantId("nobody"), said(S.CAPTURED))
    assert await rows.all("SELECT * FROM payments") == []
