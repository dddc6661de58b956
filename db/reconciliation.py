"""Our side of a page of the gateway's payments, and what was found where the two disagree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.rows import DictRow

from db import reconciliation_sql as sql
from db.database import Database
from db.inbox import EVENT_COLUMNS, StoredEvent, events_of
from db.payments import payment_key
from domain.disagreements import Kind
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import CheckoutId, GatewayName, OrderId, PaymentId, TenantId
from domain.messages import Ruling
from domain.reconciliation import Ours

REFUNDED_UNSEEN = "refunded_at_the_gateway"
"""The reason, and the refund's id, of money that came and went at the gateway while we had heard of neither."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding that is open, or that a person has accepted."""

    id: str
    kind: Kind
    open: bool
    detail: Any
    flagged: bool
    """Whether people were told that they should look."""
    repair_begun: float | None
    """Seconds since its repair was begun; None: it was not."""


@dataclass(frozen=True, slots=True)
class OurSide:
    """One payment as our rows have it, and what was found of it before."""

    ours: Ours
    findings: Sequence[Noted] = ()
    uncompared: bool = False
    """It has an outcome that was never held against the gateway's ledger before."""


@dataclass(frozen=True, slots=True)
class Found:
    """A disagreement to note. `detail` as domain.reconciliation.detail makes it."""

    payment_id: PaymentId
    kind: Kind
    checkout_id: CheckoutId | None
    detail: Mapping[str, Any]
    flagged: bool
    """Whether people should look."""


@dataclass(frozen=True, slots=True)
class Written:
    """A finding as it was noted. `opened`: it is new."""

    id: str
    opened: bool


async def our_side(
    db: Database,
    tenant: TenantId,
    gateway: GatewayName,
    page: Sequence[tuple[PaymentId, CheckoutId | None]],
    *,
    marks: bool = False,
) -> dict[PaymentId, OurSide]:
    """Our rows of these payments, each with the checkout that the gateway names; every one of them has an entry.

    One round trip. `marks`: it also marks their outcomes as compared.
    """
    values = {
        "tenant": tenant,
        "gateway": gateway,
        "payments": [payment for payment, _ in page],
        "checkouts": [checkout for _, checkout in page],
    }
    marking = [(sql.MARK_COMPARED, values)] if marks else []
    rows, *_ = await db.run(tenant, (sql.OUR_SIDE, values), *marking)
    return {PaymentId(row["payment_id"]): _our_side(row) for row in rows}


async def write_findings(
    db: Database,
    tenant: TenantId,
    gateway: GatewayName,
    found: Sequence[Found],
    agreed: Sequence[str],
    compared: Sequence[PaymentId],
) -> dict[tuple[PaymentId, Kind], Written]:
    """Note what was found, resolve the findings `agreed` (by id), and mark what was `compared`.

    Writing the same again only moves their `last_seen`.
    """
    ordered = sorted({(one.payment_id, one.kind): one for one in found}.items())
    values = {
        "tenant": tenant,
        "gateway": gateway,
        "payments": [payment for (payment, _), _ in ordered],
        "kinds": [kind.value for (_, kind), _ in ordered],
        "checkouts": [one.checkout_id for _, one in ordered],
        "details": [json.dumps(one.detail) for _, one in ordered],
        "flags": [one.flagged for _, one in ordered],
    }
    rows, *_ = await db.run(
        tenant,
        (sql.WRITE_FINDINGS, values),
        (sql.RESOLVE_AGREED, {"tenant": tenant, "ids": sorted(agreed)}),
        (sql.MARK_COMPARED, {"tenant": tenant, "gateway": gateway, "payments": sorted(compared)}),
    )
    return {(PaymentId(row["payment_id"]), Kind(row["kind"])): Written(row["id"], row["opened"]) for row in rows}


async def to_ask(
    db: Database, tenant: TenantId, gateway: GatewayName, but: Sequence[PaymentId], grace: timedelta, limit: int
) -> list[PaymentId]:
    """Payments to ask the gateway for one by one, the longest waiting first: outcomes that were never compared, refunds
    that are owed, and open findings; without those in `but`."""
    values = {"tenant": tenant, "gateway": gateway, "but": list(but), "grace": grace.total_seconds(), "limit": limit}
    [rows] = await db.run(tenant, (sql.TO_ASK, values))
    return [PaymentId(row["payment_id"]) for row in rows]


async def repair_begun(db: Database, tenant: TenantId, gateway: GatewayName, payment: PaymentId, kind: Kind) -> None:
    """The finding's repair was handed over. The first time counts."""
    await db.run(tenant, (sql.REPAIR_BEGUN, {**payment_key(tenant, gateway, payment), "kind": kind}))


async def waiting_capture(
    db: Database, tenant: TenantId, gateway: GatewayName, payment: PaymentId
) -> StoredEvent | None:
    """The oldest event of the payment's capture that is in the inbox undecided."""
    [rows] = await db.run(tenant, (EVENT_COLUMNS + sql.WAITING_CAPTURE, payment_key(tenant, gateway, payment)))
    return next(iter(events_of(rows)), None)


async def record_refunded(db: Database, tenant: TenantId, payment: GatewayPayment) -> None:
    """Record that this money came and has gone back already. Changes nothing when the payment has its outcome."""
    key = payment_key(tenant, payment.gateway, payment.payment_id)
    values = {
        **key,
        "checkout": payment.checkout_id,
        "amount": payment.amount,
        "currency": payment.currency,
        "reason": REFUNDED_UNSEEN,
        "refund": REFUNDED_UNSEEN,
    }
    await db.run(tenant, (sql.LOCK_CHECKOUT, values), (sql.RECORD_REFUNDED, values), (sql.SETTLE_EVENTS, key))


def _our_side(row: DictRow) -> OurSide:
    ours = Ours(
        payment_id=PaymentId(row["payment_id"]),
        checkout_id=CheckoutId(row["checkout_id"]) if row["checkout_id"] else None,
        status=PaymentStatus(row["status"]) if row["status"] else None,
        outcome=Ruling(row["outcome"]) if row["outcome"] else Ruling.NONE,
        order_id=OrderId(row["order_id"]) if row["order_id"] else None,
        amount=row["amount"] or 0,
        currency=row["currency"] or "",
        refund_made=row["refund_status"] == "refunded",
        refunds_made=row["made"] or 0,
        refunds_intended=row["intended"] or 0,
        in_inbox=bool(row["waiting"]),
        paid_by_another=bool(row["paid_by_another"]),
        quiet_seconds=row["quiet_seconds"],
    )
    findings = [_noted(one) for one in row["findings"] or ()]
    return OurSide(ours, findings, row["uncompared"] and ours.outcome is not Ruling.NONE)


def _noted(one: Mapping[str, Any]) -> Noted:
    begun = one["repair_begun"]
    begun = None if begun is None else float(begun)
    return Noted(one["id"], Kind(one["kind"]), one["open"], one["detail"], one["flagged"], begun)
