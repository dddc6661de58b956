"""Reserve: open a checkout and hold its lines, all or nothing, in one round trip."""

from __future__ import annotations

from collections import Counter
from typing import Any

from db.database import Database, Rows, Statement
from db.overdue import overdue_on
from db.settle import settle
from domain.checkout import CheckoutStatus
from domain.ids import ProductId
from domain.messages import CheckoutRef, SettleRequest, StartCheckout, Started, StartStatus, Wanted

MAX_ROUNDS = 3
"""Tries to free overdue holds before a shortage stands. Each round frees what the one before found."""

OPEN = """
    INSERT INTO checkouts (tenant_id, id, buyer_key, fingerprint, status, currency,
                           hold_seconds, extension_seconds, maximum_seconds)
    SELECT id, %(checkout)s, %(buyer)s, %(fingerprint)s, 'new', currency,
           hold_seconds, extension_seconds, maximum_seconds
    FROM tenants WHERE id = %(tenant)s AND clock_timestamp() < %(deadline)s
    ON CONFLICT DO NOTHING
"""

# One statement: the checkout row is locked, then the stock items in id order; availability is what the locked rows
# say (never a count taken in the statement that locks: that oversells, measured), and every write hangs on it.
# The clock is read in `verdict`, after the locks were had.
# `taken` writes the row as it was locked, plus the units. Written from `s`, the constraints would first be tried on the
# statement's older snapshot of the row: units given back while we waited for the lock would look oversold (measured).
# A shortage that an overdue hold stands behind is not decided here: the row stays `new` and the caller frees first.
RESERVE = """
    WITH mine AS MATERIALIZED (
        SELECT id, hold_seconds FROM checkouts
        WHERE tenant_id = %(tenant)s AND id = %(checkout)s AND status = 'new' AND clock_timestamp() < %(deadline)s
        FOR UPDATE
    ), asked AS MATERIALIZED (
        SELECT a.position, a.product_id, a.quantity, p.stock_item_id, p.name, p.price AS list_price,
               coalesce(p.offer_price, p.price) AS unit_price,
               CASE WHEN p.id IS NULL THEN 'gone' WHEN NOT p.available THEN 'unavailable'
                    WHEN p.price <= 0 THEN 'no_price' END AS fault
        FROM mine CROSS JOIN unnest(%(products)s::bigint[], %(quantities)s::integer[])
            WITH ORDINALITY AS a (product_id, quantity, position)
        LEFT JOIN products p ON p.tenant_id = %(tenant)s AND p.id = a.product_id
    ), locked AS MATERIALIZED (
        SELECT id, total, reserved, sold, total - reserved - sold AS free FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM asked WHERE fault IS NULL))
        ORDER BY id FOR NO KEY UPDATE
    ), judged AS MATERIALIZED (
        SELECT asked.*, locked.total, locked.reserved, locked.sold, coalesce(locked.free, 0) AS free,
               fault IS NULL AND {guard} AS fits
        FROM asked LEFT JOIN locked ON locked.id = asked.stock_item_id
    ), verdict AS MATERIALIZED (
        SELECT bool_and(fits) AS fits, clock_timestamp() AS at,
               coalesce(sum(list_price * quantity), 0)::bigint AS subtotal,
               coalesce(sum((list_price - unit_price) * quantity), 0)::bigint AS discount,
               coalesce(sum(unit_price * quantity), 0)::bigint AS total,
               %(expected_total)s::bigint IS NOT NULL
                   AND sum(unit_price * quantity) IS DISTINCT FROM %(expected_total)s::bigint AS price_changed
        FROM judged HAVING count(*) > 0
    ), decision AS MATERIALIZED (
        SELECT verdict.*, fits AND NOT price_changed AS held, at + make_interval(secs => hold_seconds) AS ends
        FROM verdict CROSS JOIN mine
        WHERE fits OR %(final)s OR NOT EXISTS (
            SELECT FROM judged JOIN checkout_lines l
                ON l.tenant_id = %(tenant)s AND l.stock_item_id = judged.stock_item_id AND l.status = 'held'
            WHERE NOT judged.fits AND judged.fault IS NULL AND l.expires_at <= at
        )
    ), taken AS (
        UPDATE stock_items s SET total = judged.total, reserved = judged.reserved + judged.quantity, sold = judged.sold
        FROM judged, decision
        WHERE decision.held AND s.tenant_id = %(tenant)s AND s.id = judged.stock_item_id
    ), lines AS (
        INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, quantity,
                                    list_price, unit_price, locked_at, expires_at)
        SELECT %(tenant)s, %(checkout)s, position, stock_item_id, product_id, quantity,
               list_price, unit_price, at, ends
        FROM judged, decision WHERE decision.held ORDER BY position
    )
    UPDATE checkouts c SET
        status = CASE WHEN held THEN 'held' ELSE 'refused' END,
        subtotal = d.subtotal, discount = d.discount, total = d.total,
        held_at = CASE WHEN held THEN at END,
        expires_at = CASE WHEN held THEN ends END,
        refusal = CASE
            WHEN held THEN NULL
            WHEN fits THEN jsonb_build_object('code', 'price_changed', 'total', d.total)
            ELSE jsonb_build_object('code', 'insufficient_stock', 'shortages', (
                SELECT jsonb_agg(jsonb_build_object(
                    'product_id', product_id, 'requested', quantity, 'available', free,
                    'reason', coalesce(fault, 'sold_out'),
                    'free_at', (SELECT min(l.expires_at) FROM checkout_lines l
                                WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = judged.stock_item_id
                                  AND l.status = 'held' AND l.expires_at > at)
                ) ORDER BY position)
                FROM judged WHERE NOT judged.fits))
        END
    FROM decision d
    WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
"""
GUARD = "coalesce(locked.free, 0) >= asked.quantity"
"""The comparison that prevents overselling; a test takes it away to show that the race test would see it missing."""

OUTCOME = """
    SELECT status, total, currency,
           greatest(0, ceil(extract(epoch FROM expires_at - clock_timestamp()) * 1000))::bigint AS remaining_ms
    FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s
"""


async def reserve(db: Database, start: StartCheckout, *, guard: str = GUARD) -> Started:
    """Hold the lines of a start, or find what an earlier attempt of the same start did.

    Runs any number of times with one effect: only a row that is still `new` is acted on. A shortage first expires the
    overdue holds on the items, through `settle`, and tries again. Reached after its deadline it writes nothing.
    """
    for _ in range(MAX_ROUNDS):
        started = _outcome(start, await db.run(start.tenant, *_statements(start, final=False, guard=guard)))
        if started.start is StartStatus.STORED or not await _free_overdue(db, start):
            return started
    return _outcome(start, await db.run(start.tenant, *_statements(start, final=True, guard=guard)))


def _statements(start: StartCheckout, *, final: bool, guard: str) -> tuple[Statement, Statement, Statement]:
    values = _values(start, final=final)
    return (OPEN, values), (RESERVE.replace("{guard}", guard), values), (OUTCOME, values)


def _values(start: StartCheckout, *, final: bool) -> dict[str, Any]:
    asked: Counter[ProductId] = Counter()  # Summed here too: a stock item named twice would be counted once.
    for line in start.lines:
        asked[line.product_id] += line.quantity
    return {
        "tenant": start.tenant,
        "checkout": start.checkout_id,
        "buyer": start.buyer,
        "fingerprint": start.fingerprint,
        "deadline": start.deadline,
        "products": list(asked),
        "quantities": list(asked.values()),
        "expected_total": start.expected_total,
        "final": final,
    }


def _outcome(start: StartCheckout, results: list[Rows]) -> Started:
    row = results[-1][0] if results[-1] else None
    if row is None or row["status"] == CheckoutStatus.NEW:
        return Started(StartStatus.NOT_ATTEMPTED, start.deadline)
    return Started(
        StartStatus.STORED,
        start.deadline,
        status=CheckoutStatus(row["status"]),
        remaining_ms=row["remaining_ms"] or 0,
        total=row["total"],
        currency=row["currency"],
    )


async def _free_overdue(db: Database, start: StartCheckout) -> bool:
    """Expire the overdue holds on the asked items; whether there were any."""
    overdue = await overdue_on(db, start.tenant, [line.product_id for line in start.lines])
    for checkout in overdue:
        await settle(db, SettleRequest(CheckoutRef(start.tenant, checkout), Wanted.EXPIRE))
    return bool(overdue)
