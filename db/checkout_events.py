"""Reading what checkouts went through: one stream's beginning, and what is new for all streams of a process.

A checkout's numbers have no gaps and appear in their order (db/telling.py), so what comes after a number that was read
is all that was missed, also when transactions commit in another order than they began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from db.database import Database
from domain.checkout import CheckoutStatus
from domain.checkout_events import CheckoutEventKind
from domain.ids import BuyerKey, CheckoutId, TenantId

MOST_AT_ONCE = 500
"""Events that one look gives. A checkout has a few dozen; the rest comes with the next look."""

_COLUMNS = """
    e.checkout_id::text AS checkout_id, e.seq, e.kind, e.data, e.at,
    greatest(0, ceil(extract(epoch FROM (e.data ->> 'expires_at')::timestamptz - clock_timestamp())))::integer
        AS remaining_seconds
"""
_CHECKOUT = """
    SELECT c.status, c.buyer_key, c.refusal, c.ended_at, clock_timestamp() AS now, EXISTS (
        SELECT FROM checkout_events e WHERE e.tenant_id = c.tenant_id AND e.checkout_id = c.id
          AND e.kind = 'tickets_ready') AS has_tickets
    FROM checkouts c WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
"""
_OF_ONE = f"""
    SELECT {_COLUMNS} FROM checkout_events e
    WHERE e.tenant_id = %(tenant)s AND e.checkout_id = %(checkout)s AND e.seq > %(after)s
    ORDER BY e.seq LIMIT %(most)s
"""
_OF_MANY = f"""
    SELECT {_COLUMNS}
    FROM unnest(%(checkouts)s::uuid[], %(seqs)s::integer[]) AS s (checkout_id, seq)
    JOIN checkout_events e ON e.tenant_id = %(tenant)s AND e.checkout_id = s.checkout_id AND e.seq > s.seq
    ORDER BY e.checkout_id, e.seq LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class CheckoutEvent:
    """One step of a checkout. `seq`: its number there. `remaining_seconds`: of the hold, where `data` has its end."""

    checkout_id: CheckoutId
    seq: int
    kind: CheckoutEventKind
    data: Mapping[str, Any]
    at: datetime
    remaining_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How a checkout stands, and what it went through after the number that was asked about."""

    status: CheckoutStatus
    buyer: BuyerKey
    refusal: Mapping[str, Any] | None
    ended_at: datetime | None
    has_tickets: bool
    now: datetime
    events: list[CheckoutEvent]


async def read_progress(db: Database, tenant: TenantId, checkout: CheckoutId, after: int) -> Progress | None:
    """The checkout's events with numbers above `after`; None when there is no such checkout. One round trip."""
    values = {"tenant": tenant, "checkout": checkout, "after": after, "most": MOST_AT_ONCE}
    # The row first: of what it says is over, the events that are read after it tell.
    rows, events = await db.run(tenant, (_CHECKOUT, values), (_OF_ONE, values))
    if not rows:
        return None
    row = rows[0]
    return Progress(
        CheckoutStatus(row["status"]), BuyerKey(row["buyer_key"]), row["refusal"], row["ended_at"], row["has_tickets"],
        row["now"], [_event(one) for one in events],
    )  # fmt: skip


async def events_after(
    db: Database, read: Mapping[TenantId, Mapping[CheckoutId, int]]
) -> dict[TenantId, list[CheckoutEvent]]:
    """What is new at these checkouts, each read up to this number; by tenant, in the order of the numbers.

    One round trip for all tenants, and an index look-up for each checkout.
    """
    work = {
        tenant: [
            (_OF_MANY, {
                "tenant": tenant, "checkouts": list(seqs), "seqs": list(seqs.values()), "most": MOST_AT_ONCE,
            })
        ]
        for tenant, seqs in read.items()
    }  # fmt: skip
    found = await db.run_for_each(work)
    return {tenant: [_event(one) for one in rows] for tenant, [rows] in found.items()}


def _event(row: DictRow) -> CheckoutEvent:
    return CheckoutEvent(**{**row, "kind": CheckoutEventKind(row["kind"])})
