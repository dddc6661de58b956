"""Webhooks to be sent, written in the transaction that causes them, so that a crash loses none."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

from local.gateway.config import GatewayConfig
from local.gateway.errors import not_found
from local.gateway.schemas import Behaviour

Row = dict[str, Any]

REORDER_SECONDS = 2.0
"""How long an event that is to come out of order waits for the next event of its payment."""


def enqueue(db: sqlite3.Connection, payment: Row, kind: str, behaviour: Behaviour, refund: Row | None = None) -> None:
    """One event of this payment, in as many copies as `behaviour` says."""
    event = _event(payment, kind, refund)
    due = time.time() + behaviour.delay_ms / 1000 + REORDER_SECONDS * behaviour.reorder
    if behaviour.forge:
        _insert(db, event, state="pending", forged=True, held=False, due=due)
    state = "dropped" if behaviour.drop else "pending"
    for _ in range(1 + behaviour.duplicate):
        _insert(db, event, state=state, forged=False, held=behaviour.reorder, due=due)


def due(db: sqlite3.Connection, limit: int) -> tuple[list[Row], float | None]:
    """Copies to send now, oldest first; and when the next one will be due (seconds since the epoch), if any."""
    now = time.time()
    rows = db.execute(
        "select * from webhooks where state = 'pending' and due_at <= ? order by id limit ?", (now, limit)
    )
    found = [dict(row) for row in rows]
    later = db.execute("select min(due_at) from webhooks where state = 'pending' and due_at > ?", (now,)).fetchone()
    return found, later[0]


def delivered(db: sqlite3.Connection, copy: Row, status: int) -> None:
    """The receiver took it. Whatever was held back to come after it may go now."""
    db.execute(
        "update webhooks set state = 'delivered', attempts = attempts + 1, last_status = ?, last_error = null"
        " where id = ?",
        (status, copy["id"]),
    )
    db.execute(
        "update webhooks set held = 0, due_at = ? where payment_id = ? and held and event_id <> ? and id < ?",
        (time.time(), copy["payment_id"], copy["event_id"], copy["id"]),
    )


def failed(db: sqlite3.Connection, copy: Row, status: int | None, error: str, config: GatewayConfig) -> None:
    """Nobody took it: try again later, except a forgery, which is sent once."""
    attempts = copy["attempts"] + 1
    db.execute(
        "update webhooks set state = ?, attempts = ?, last_status = ?, last_error = ?, due_at = ?, held = 0"
        " where id = ?",
        (
            "refused" if copy["forged"] else "pending",
            attempts,
            status,
            error,
            time.time() + config.pause_after(attempts),
            copy["id"],
        ),
    )


def resend(db: sqlite3.Connection, event_id: str) -> list[Row]:
    """Send the event once more now, whatever became of it before; 404 for an unknown one."""
    rows = db.execute(
        "select * from webhooks where event_id = ? and not forged order by id limit 1", (event_id,)
    ).fetchall()
    if not rows:
        raise not_found("event")
    first = dict(rows[0])
    _insert(db, first, state="pending", forged=False, held=False, due=time.time())
    return find(db, None, event_id)


def find(db: sqlite3.Connection, payment_id: str | None, event_id: str | None = None) -> list[Row]:
    """Every copy of a payment's or an event's webhooks (the newest thousand of all), in the order they were written."""
    rows = db.execute(
        """select * from (
               select * from webhooks where (?1 is null or payment_id = ?1) and (?2 is null or event_id = ?2)
               order by id desc limit 1000
           ) order by id""",
        (payment_id, event_id),
    )
    return [dict(row) for row in rows]


def _event(payment: Row, kind: str, refund: Row | None) -> Row:
    event_id, now = f"evt_{secrets.token_hex(12)}", datetime.now(UTC).isoformat()
    data = {
        "payment_id": payment["id"],
        "checkout_id": payment["checkout_id"],
        "tenant": payment["tenant"],
        "amount": payment["amount"],
        "currency": payment["currency"],
        "status": payment["status"],
        "refunded_amount": payment["refunded_amount"],
    }
    if refund is not None:
        data["refund"] = {"id": refund["id"], "amount": refund["amount"]}
    body = json.dumps({"id": event_id, "type": kind, "created_at": now, "data": data}, separators=(",", ":"))
    return {"event_id": event_id, "payment_id": payment["id"], "tenant": payment["tenant"], "type": kind, "body": body}


def _insert(db: sqlite3.Connection, event: Row, *, state: str, forged: bool, held: bool, due: float) -> None:
    db.execute(
        """insert into webhooks (event_id, payment_id, tenant, type, body, state, forged, held, due_at, created_at)
           values (:event_id, :payment_id, :tenant, :type, :body, :state, :forged, :held, :due, :now)""",
        event | {"state": state, "forged": forged, "held": held, "due": due, "now": datetime.now(UTC).isoformat()},
    )
