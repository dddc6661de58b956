"""Payments and the money that moved: plain functions on a connection, each inside its caller's transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from local.gateway import outbox
from local.gateway.errors import Refused, conflict, not_found
from local.gateway.schemas import Behaviour, NewPayment

Row = dict[str, Any]
NEVER, EVER = "0000", "9999"
"""Before and after every time that is kept, as texts compare."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which payments. Times are ISO 8601 in UTC, as they are kept: `since` <= made < `until`."""

    tenant: str | None = None
    checkout_id: str | None = None
    since: str = NEVER
    until: str = EVER
    after: int = 0
    limit: int = 100


def create(db: sqlite3.Connection, new: NewPayment) -> Row:
    """A payment that nobody has paid yet."""
    values = new.model_dump(mode="json", exclude={"announce"}) | {"id": f"pay_{secrets.token_hex(12)}", "now": _now()}
    db.execute(
        """insert into payments (id, tenant, checkout_id, amount, currency, status, reference, created_at, updated_at,
                                 ends_at, return_url)
           values (:id, :tenant, :checkout_id, :amount, :currency, 'created', :reference, :now, :now,
                   :ends_at, :return_url)""",
        values,
    )
    payment = get(db, values["id"])
    if new.announce:
        outbox.enqueue(db, payment, "payment.created", Behaviour())
    return payment


def get(db: sqlite3.Connection, payment_id: str) -> Row:
    """The payment, or 404."""
    row = db.execute("select * from payments where id = ?", (payment_id,)).fetchone()
    if row is None:
        raise not_found("payment")
    return dict(row)


def newest(db: sqlite3.Connection, limit: int) -> list[Row]:
    """The newest payments first."""
    return [dict(row) for row in db.execute("select * from payments order by rowid desc limit ?", (limit,))]


def page(db: sqlite3.Connection, wanted: Wanted) -> tuple[list[Row], int | None]:
    """Payments in the order they were made; and after which one the next page begins, if there is one."""
    rows = db.execute(
        """select rowid as place, * from payments
           where rowid > :after and (:tenant is null or tenant = :tenant)
             and (:checkout_id is null or checkout_id = :checkout_id)
             and created_at >= :since and created_at < :until
           order by rowid limit :limit + 1""",
        asdict(wanted),
    )
    found = [dict(row) for row in rows]
    more = found[wanted.limit - 1]["place"] if len(found) > wanted.limit else None
    return found[: wanted.limit], more


def process(db: sqlite3.Connection, payment_id: str, behaviour: Behaviour) -> Row:
    """The buyer has begun to pay; the money is not taken yet."""
    payment = get(db, payment_id)
    if payment["status"] == "processing":
        return payment
    _must_be_open(payment)
    return _move(db, payment, "processing", behaviour)


def pay(db: sqlite3.Connection, payment_id: str, behaviour: Behaviour) -> Row:
    """Take the money, once: a captured payment stays as it is and sends nothing again."""
    payment = get(db, payment_id)
    if payment["status"] == "captured":
        return payment
    _must_be_open(payment)
    _book(db, payment, "capture", payment["amount"], None)
    return _move(db, payment, "captured", behaviour)


def expire(db: sqlite3.Connection, payment_id: str, behaviour: Behaviour) -> Row:
    """Let nobody pay it any more; what is captured or on its way stays as it is."""
    payment = get(db, payment_id)
    if payment["status"] not in ("created", "failed"):
        return payment
    return _move(db, payment, "expired", behaviour)


def decline(db: sqlite3.Connection, payment_id: str, reason: str | None, behaviour: Behaviour) -> Row:
    """Say no to the buyer's card. Each decline is an event of its own, and the payment may still be paid."""
    payment = get(db, payment_id)
    _must_be_open(payment)
    return _move(db, payment, "failed", behaviour, reason=reason)


def refund(db: sqlite3.Connection, payment_id: str, amount: int | None, behaviour: Behaviour) -> Row:
    """Give money back, never more than was captured."""
    payment = get(db, payment_id)
    left = payment["amount"] - payment["refunded_amount"]
    if payment["status"] != "captured":
        raise conflict("Only a captured payment can be refunded")
    wanted = left if amount is None else amount
    if wanted > left:
        raise conflict("That is more than is left of this payment")
    refund_id = f"ref_{secrets.token_hex(12)}"
    at = _book(db, payment, "refund", wanted, refund_id)
    db.execute("update payments set refunded_amount = refunded_amount + ? where id = ?", (wanted, payment_id))
    made = {"id": refund_id, "payment_id": payment_id, "amount": wanted, "currency": payment["currency"], "at": at}
    _move(db, payment, "refunded" if wanted == left else "captured", behaviour, event="refunded", refund=made)
    return made


def entries(db: sqlite3.Connection, tenant: str | None) -> list[Row]:
    """Every movement of money in the order it happened, of one tenant or of all."""
    where = "where tenant = ?" if tenant is not None else "where ? is null"
    return [dict(row) for row in db.execute(f"select * from ledger {where} order by id", (tenant,))]


def once(db: sqlite3.Connection, scope: str, key: str | None, request: Row, act: Callable[[], Row]) -> Row:
    """What `act` answered the first time this Idempotency-Key came; 422 when it came with another request."""
    if key is None:
        return act()
    asked = json.dumps(request, sort_keys=True)
    earlier = db.execute("select request, answer from idempotency where scope = ? and key = ?", (scope, key)).fetchone()
    if earlier is None:
        answer = act()
        db.execute("insert into idempotency values (?, ?, ?, ?)", (scope, key, asked, json.dumps(answer)))
        return answer
    if earlier["request"] != asked:
        raise Refused(422, "idempotency_key_reused", "This Idempotency-Key came with another request")
    return dict(json.loads(earlier["answer"]))


def _must_be_open(payment: Row) -> None:
    if payment["status"] not in ("created", "processing", "failed"):
        raise conflict(f"This payment is {payment['status']}")


def _book(db: sqlite3.Connection, payment: Row, kind: str, amount: int, refund_id: str | None) -> str:
    at = _now()
    db.execute(
        """insert into ledger (kind, tenant, payment_id, checkout_id, refund_id, amount, currency, at)
           values (?, ?, ?, ?, ?, ?, ?, ?)""",
        (kind, payment["tenant"], payment["id"], payment["checkout_id"], refund_id, amount, payment["currency"], at),
    )
    return at


def _move(
    db: sqlite3.Connection,
    payment: Row,
    status: str,
    behaviour: Behaviour,
    *,
    event: str | None = None,
    reason: str | None = None,
    refund: Row | None = None,
) -> Row:
    db.execute(
        "update payments set status = ?, reason = ?, updated_at = ? where id = ?",
        (status, reason, _now(), payment["id"]),
    )
    moved = get(db, payment["id"])
    outbox.enqueue(db, moved, f"payment.{event or status}", behaviour, refund=refund)
    return moved


def _now() -> str:
    return datetime.now(UTC).isoformat()
