"""What a checkout needs in a test: starts, captures, and looks into the rows by the admin role."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from db.database import Database
from domain.gateway import PaymentEvent, PaymentStatus
from domain.ids import BuyerKey, CheckoutId, EventId, GatewayName, PaymentId, ProductId, TenantId, checkout_id_for
from domain.messages import Capture, CheckoutRef, Line, SettleRequest, StartCheckout, Wanted
from tests.support.waiting import eventually

SANDBOX = GatewayName("sandbox")
BUYER = BuyerKey("user:1")

_numbers = itertools.count(1)


@asynccontextmanager
async def opened(url: str, size: int = 8) -> AsyncIterator[Database]:
    """A database as the worker has it, closed at the end."""
    db = Database(url, size=size, name="holdfast-test")
    await db.open()
    try:
        yield db
    finally:
        await db.close()


def a_start(
    tenant: TenantId,
    lines: Mapping[ProductId, int],
    *,
    key: str | None = None,
    buyer: BuyerKey = BUYER,
    patience: float = 5.0,
    expected_total: int | None = None,
) -> StartCheckout:
    """A start of these quantities, by a client that waits `patience` seconds; another checkout each time."""
    key = key or f"key-{next(_numbers)}"
    return StartCheckout(
        tenant,
        checkout_id_for(tenant, buyer, key),
        buyer,
        [Line(product, quantity) for product, quantity in lines.items()],
        fingerprint="f" * 43,
        deadline=datetime.now(UTC) + timedelta(seconds=patience),
        expected_total=expected_total,
    )


def a_capture(
    checkout: CheckoutId,
    amount: int,
    *,
    payment: str | None = None,
    currency: str = "COP",
    received_at: datetime | None = None,
) -> Capture:
    """A gateway's word that it took money, now unless told otherwise; another payment each time."""
    payment_id = PaymentId(payment or f"pay_{next(_numbers):024x}")  # As long as gateways make them.
    return Capture(SANDBOX, payment_id, checkout, amount, currency, received_at or datetime.now(UTC))


def an_event(capture: Capture, *, kind: PaymentStatus = PaymentStatus.CAPTURED, event: str = "") -> PaymentEvent:
    """The webhook that brings this capture; another event each time unless named."""
    return PaymentEvent(
        capture.gateway,
        EventId(event or f"evt-{next(_numbers)}"),
        kind,
        capture.payment_id,
        capture.checkout_id,
        capture.amount,
        capture.currency,
        occurred_at=datetime.now(UTC),
    )


def confirm(ref: CheckoutRef, capture: Capture) -> SettleRequest:
    return SettleRequest(ref, Wanted.CONFIRM, capture)


def cancel(ref: CheckoutRef) -> SettleRequest:
    return SettleRequest(ref, Wanted.CANCEL)


def expire(ref: CheckoutRef) -> SettleRequest:
    return SettleRequest(ref, Wanted.EXPIRE)


def again(start: StartCheckout, patience: float = 5.0) -> StartCheckout:
    """The same start, sent by a client that waits anew."""
    return replace(start, deadline=datetime.now(UTC) + timedelta(seconds=patience))


class Rows:
    """Looks into a test's database by the admin role, which sees all tenants."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query with `%s` placeholders."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(query, values)).fetchall()

    async def value(self, query: str, *values: Any) -> Any:
        """The one value of the one row."""
        [row] = await self.all(query, *values)
        [value] = row.values()
        return value

    async def stock(self, tenant: TenantId, product: ProductId) -> tuple[int, int, int]:
        """(free, reserved, sold) of a product."""
        [row] = await self.all(
            "SELECT s.total - s.reserved - s.sold AS free, s.reserved, s.sold FROM products p"
            " JOIN stock_items s ON s.tenant_id = p.tenant_id AND s.id = p.stock_item_id"
            " WHERE p.tenant_id = %s AND p.id = %s",
            tenant,
            product,
        )
        return row["free"], row["reserved"], row["sold"]

    async def checkout(self, ref: CheckoutRef) -> dict[str, Any]:
        """The checkout's row."""
        [row] = await self.all("SELECT * FROM checkouts WHERE tenant_id = %s AND id = %s", ref.tenant, ref.checkout_id)
        return row

    async def outcome(self, capture: Capture) -> dict[str, Any] | None:
        """What was decided of a payment."""
        rows = await self.all(
            "SELECT * FROM payment_outcomes WHERE gateway = %s AND payment_id = %s", capture.gateway, capture.payment_id
        )
        assert len(rows) <= 1
        return rows[0] if rows else None

    async def until_somebody_waits_for_a_lock(self) -> None:
        """Until a session of this database waits for a row that another one has locked."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await eventually(lambda: self.value(waiting))

    async def pass_time(self, ref: CheckoutRef, by: timedelta) -> datetime:
        """Move a hold and its payments into the past by so much, as if the time had gone by; gives its new end."""
        [row] = await self.all(
            """
            WITH moved AS (
                UPDATE checkouts SET held_at = held_at - %s, expires_at = expires_at - %s
                WHERE tenant_id = %s AND id = %s AND status = 'held' RETURNING tenant_id, id, expires_at
            ), lines AS (
                UPDATE checkout_lines l SET expires_at = l.expires_at - %s FROM moved
                WHERE l.tenant_id = moved.tenant_id AND l.checkout_id = moved.id
            ), payments AS (
                UPDATE payments p SET known_at = p.known_at - %s FROM moved
                WHERE p.tenant_id = moved.tenant_id AND p.checkout_id = moved.id
            ), starts AS (
                UPDATE payment_starts s SET requested_at = s.requested_at - %s FROM moved
                WHERE s.tenant_id = moved.tenant_id AND s.checkout_id = moved.id
            )
            SELECT expires_at FROM moved
            """,
            by,
            by,
            ref.tenant,
            ref.checkout_id,
            by,
            by,
            by,
        )
        end: datetime = row["expires_at"]
        return end

    async def end_now(self, ref: CheckoutRef, ago: float = 0.0) -> datetime:
        """Move a hold into the past so far that its end was `ago` seconds ago; gives the new end."""
        left: timedelta = await self.value(
            "SELECT expires_at - clock_timestamp() FROM checkouts WHERE tenant_id = %s AND id = %s",
            ref.tenant,
            ref.checkout_id,
        )
        return await self.pass_time(ref, left + timedelta(seconds=ago))
