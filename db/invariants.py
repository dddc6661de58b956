"""The invariant checker: I1 to I9, as far as the tables exist. Runs as the admin role, over all tenants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from db.invariants_of_sales import SALES
from db.limits_sql import subjects_of


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must hold; `violations` selects the rows for which it does not."""

    code: str
    sentence: str
    violations: str
    only_when_quiet: bool = False


INVARIANTS = (
    Invariant(
        "I1",
        "a stock item is never negative, and reserved + sold never exceeds its total",
        "SELECT tenant_id, id, total, reserved, sold FROM stock_items"
        " WHERE total < 0 OR reserved < 0 OR sold < 0 OR reserved::bigint + sold > total",
    ),
    Invariant(
        "I1",
        "reserved is the sum of the held lines",
        """SELECT s.tenant_id, s.id, s.reserved, coalesce(l.held, 0) AS held_lines FROM stock_items s
           LEFT JOIN (SELECT tenant_id, stock_item_id, sum(quantity) AS held FROM checkout_lines
                      WHERE status = 'held' GROUP BY 1, 2) l ON l.tenant_id = s.tenant_id AND l.stock_item_id = s.id
           WHERE s.reserved <> coalesce(l.held, 0)""",
    ),
    Invariant(
        "I1",
        "sold is the sum of the order lines not given back",
        """SELECT s.tenant_id, s.id, s.sold, coalesce(l.sold, 0) AS order_lines FROM stock_items s
           LEFT JOIN (SELECT tenant_id, stock_item_id, sum(quantity - returned) AS sold FROM order_lines
                      GROUP BY 1, 2) l ON l.tenant_id = s.tenant_id AND l.stock_item_id = s.id
           WHERE s.sold <> coalesce(l.sold, 0)""",
    ),
    Invariant(
        "I2",
        "a seat has one live owner at most",
        # What was sold is the order's: a seat that was given back may be sold again.
        """SELECT l.tenant_id, l.stock_item_id, count(*) AS owners FROM (
               SELECT tenant_id, stock_item_id, quantity FROM checkout_lines WHERE status = 'held'
               UNION ALL
               SELECT tenant_id, stock_item_id, quantity - returned FROM order_lines WHERE returned < quantity) l
           JOIN stock_items s ON s.tenant_id = l.tenant_id AND s.id = l.stock_item_id AND s.kind = 'seat'
           GROUP BY 1, 2 HAVING sum(l.quantity) > 1""",
    ),
    Invariant(
        "I3",
        "a zone is never above its capacity",
        "SELECT tenant_id, id FROM stock_items WHERE kind = 'zone' AND reserved::bigint + sold > total",
    ),
    Invariant(
        "I4",
        "every settled capture has its outcome",
        """SELECT e.tenant_id, e.gateway, e.payment_id, e.event_id FROM payment_events e
           LEFT JOIN payment_outcomes o USING (tenant_id, gateway, payment_id)
           WHERE e.kind = 'captured' AND e.state = 'settled' AND o.payment_id IS NULL""",
    ),
    Invariant(
        "I4",
        "every order has the payment it was made with, of the right amount",
        """SELECT o.tenant_id, o.id, o.gateway, o.payment_id FROM orders o
           LEFT JOIN payment_outcomes p ON p.tenant_id = o.tenant_id AND p.order_id = o.id
           WHERE p.payment_id IS DISTINCT FROM o.payment_id OR p.gateway IS DISTINCT FROM o.gateway
              OR p.amount <> o.total OR p.currency <> o.currency""",
    ),
    Invariant(
        "I4",
        "every captured payment is decided",
        """SELECT tenant_id, gateway, event_id, payment_id, state FROM payment_events
           WHERE kind = 'captured' AND state <> 'settled'""",
        only_when_quiet=True,
    ),
    Invariant(
        "I4",
        "an order's refunds add up to what it says is refunded, and are of its payment",
        """SELECT o.tenant_id, o.id, o.refunded, coalesce(sum(r.amount), 0) AS refunds FROM orders o
           LEFT JOIN order_refunds r ON r.tenant_id = o.tenant_id AND r.order_id = o.id
           GROUP BY o.tenant_id, o.id
           HAVING o.refunded <> coalesce(sum(r.amount), 0) OR o.refunded > o.total
               OR bool_or((r.gateway, r.payment_id, r.currency) <> (o.gateway, o.payment_id, o.currency))""",
    ),
    Invariant(
        "I4",
        "every refund of an order is made",
        "SELECT tenant_id, id, order_id FROM order_refunds WHERE status = 'intended'",
        only_when_quiet=True,
    ),
    Invariant(
        "I4",
        "what shows as given back of a manual payment was returned by hand",
        """SELECT m.tenant_id, m.payment_id, m.refunded_amount, o.kind FROM manual_payments m
           JOIN payment_outcomes o
               ON o.tenant_id = m.tenant_id AND o.gateway = 'manual' AND o.payment_id = m.payment_id
           LEFT JOIN (SELECT tenant_id, order_id, sum(amount) AS made FROM order_refunds
                      WHERE status = 'refunded' GROUP BY 1, 2) r
               ON r.tenant_id = o.tenant_id AND r.order_id = o.order_id
           WHERE m.refunded_amount < CASE o.refund_status WHEN 'refunded' THEN o.amount ELSE coalesce(r.made, 0) END""",
    ),
    Invariant(
        "I4",
        "every refund decided is made",
        "SELECT tenant_id, gateway, payment_id FROM payment_outcomes WHERE refund_status = 'intended'",
        only_when_quiet=True,
    ),
    Invariant(
        "I5",
        "no checkout is held past its end",
        """SELECT tenant_id, id, expires_at FROM checkouts
           WHERE status = 'held' AND expires_at <= clock_timestamp()""",
        only_when_quiet=True,
    ),
    Invariant(
        "I5",
        "a checkout's lines stand as the checkout does",
        """SELECT c.tenant_id, c.id, c.status, l.status AS line_status FROM checkouts c
           JOIN checkout_lines l ON l.tenant_id = c.tenant_id AND l.checkout_id = c.id
           WHERE l.removed_at IS NULL AND (
               l.status <> CASE c.status WHEN 'held' THEN 'held' WHEN 'confirmed' THEN 'sold' ELSE 'released' END
               OR (c.status = 'held' AND l.expires_at NOT IN (
                   c.expires_at, c.expires_at + make_interval(secs => c.payment_grace_seconds))))""",
    ),
    Invariant(
        "I5",
        "a held, confirmed, cancelled or expired checkout has lines, and they add up to its total",
        """SELECT c.tenant_id, c.id, c.status, c.total, sum(l.unit_price * l.quantity) AS lines FROM checkouts c
           LEFT JOIN checkout_lines l
               ON l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.removed_at IS NULL
           WHERE c.status NOT IN ('new', 'refused') GROUP BY c.tenant_id, c.id
           HAVING count(l.id) = 0 OR sum(l.unit_price * l.quantity) <> c.total - c.tax
              OR sum(l.list_price * l.quantity) <> c.subtotal""",
    ),
    Invariant(
        "I5",
        "a cart names the live hold that was started from it",
        """SELECT k.tenant_id, k.id, k.status, k.checkout_id, c.status AS checkout_status FROM carts k
           LEFT JOIN checkouts c ON c.tenant_id = k.tenant_id AND c.id = k.checkout_id
           WHERE k.checkout_id IS NOT NULL AND (c.status <> 'held' OR c.cart_id IS DISTINCT FROM k.id)""",
    ),
    Invariant(
        "I5",
        "a live hold that was started from a cart keeps it from being changed",
        """SELECT c.tenant_id, c.id, c.cart_id FROM checkouts c
           JOIN carts k ON k.tenant_id = c.tenant_id AND k.id = c.cart_id
           WHERE c.status = 'held' AND k.checkout_id IS NULL""",
    ),
    Invariant(
        "I9",
        "a hold from a cart and its cart have one owner",
        """SELECT c.tenant_id, c.id, c.cart_id FROM checkouts c
           JOIN carts k ON k.tenant_id = c.tenant_id AND k.id = c.cart_id
           WHERE c.status = 'held' AND k.owner_key <> c.buyer_key""",
    ),
    Invariant(
        "I1",
        "limits count what is held, of each owner and address",
        f"""WITH held AS (
               SELECT c.tenant_id, unnest({subjects_of("c").replace("%%", "%")}) AS subject, c.id, (
                   SELECT count(*) FROM checkout_lines l
                   WHERE l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.status = 'held') AS lines
               FROM checkouts c WHERE c.status = 'held'
           ), counted AS (
               SELECT tenant_id, subject, count(*) AS checkouts, sum(lines) AS lines FROM held GROUP BY 1, 2
           )
           SELECT tenant_id, k.live_checkouts, n.checkouts, k.held_lines, n.lines
           FROM limit_counters k FULL JOIN counted n USING (tenant_id, subject)
           WHERE coalesce(k.live_checkouts, 0) <> coalesce(n.checkouts, 0)
              OR coalesce(k.held_lines, 0) <> coalesce(n.lines, 0)""",
    ),
    Invariant(
        "I6",
        "each confirmed checkout has one order, and only those have any",
        """SELECT c.tenant_id, c.id, c.status, o.id AS order_id FROM checkouts c
           FULL JOIN orders o ON o.tenant_id = c.tenant_id AND o.checkout_id = c.id
           WHERE (c.status = 'confirmed') IS DISTINCT FROM (o.id IS NOT NULL)""",
    ),
    Invariant(
        "I6",
        "an order's lines add up to its total",
        """SELECT o.tenant_id, o.id, o.total FROM orders o
           LEFT JOIN order_lines l ON l.tenant_id = o.tenant_id AND l.order_id = o.id
           GROUP BY o.tenant_id, o.id HAVING sum(l.unit_price * l.quantity) IS DISTINCT FROM o.total - o.tax""",
    ),
    Invariant(
        "I7",
        "an order that counts as fulfilled has each of its steps ended",
        """SELECT o.tenant_id, o.id, wanted.step, s.status FROM orders o
           CROSS JOIN (VALUES ('pdf'), ('mail'), ('notify'), ('statistics')) AS wanted (step)
           LEFT JOIN fulfilment_steps s ON s.tenant_id = o.tenant_id AND s.order_id = o.id AND s.step = wanted.step
               AND s.replay = 0
           WHERE o.fulfilled_at > '1970-01-01 00:00:00+00' AND (s.status IS NULL OR s.status = 'pending')""",
    ),
    Invariant(
        "I7",
        "an order's tickets are there when they are said to be made, and it is counted when it is said to be",
        """SELECT s.tenant_id, s.order_id, s.step FROM fulfilment_steps s
           JOIN orders o ON o.tenant_id = s.tenant_id AND o.id = s.order_id
           LEFT JOIN order_documents d ON d.tenant_id = s.tenant_id AND d.order_id = s.order_id
           WHERE s.status = 'done' AND ((s.step = 'pdf' AND d.order_id IS NULL)
               OR (s.step = 'statistics' AND o.counted_at IS NULL))""",
    ),
    Invariant(
        "I7",
        "a day's sales are those of the orders that were counted",
        """SELECT tenant_id, day, currency, d.orders, o.orders AS counted, d.revenue, o.revenue AS of_orders
           FROM daily_sales d FULL JOIN (
               SELECT tenant_id, (created_at AT TIME ZONE 'UTC')::date AS day, currency, count(*) AS orders,
                   sum(total) AS revenue
               FROM orders WHERE counted_at > '1970-01-01 00:00:00+00' GROUP BY 1, 2, 3
           ) o USING (tenant_id, day, currency)
           WHERE d.orders IS DISTINCT FROM o.orders OR d.revenue IS DISTINCT FROM o.revenue""",
    ),
    Invariant(
        "I9",
        "a checkout's events have numbers without a gap, and the last that says how it ended says what its row says",
        """SELECT e.tenant_id, e.checkout_id, count(*) AS events, max(e.seq) AS last, c.status FROM checkout_events e
           LEFT JOIN checkouts c ON c.tenant_id = e.tenant_id AND c.id = e.checkout_id
           GROUP BY e.tenant_id, e.checkout_id, c.status
           HAVING max(e.seq) - min(e.seq) + 1 <> count(*) OR c.status <> (
               array_agg(e.kind ORDER BY e.seq DESC) FILTER (WHERE e.kind IN ('confirmed', 'cancelled', 'expired')))[1]
               """,
    ),
    Invariant(
        "I9",
        "tenant ids agree across all rows of a checkout",
        """SELECT p.tenant_id, p.payment_id, p.checkout_id FROM payment_outcomes p
           LEFT JOIN checkouts c ON c.tenant_id = p.tenant_id AND c.id = p.checkout_id
           WHERE p.checkout_id IS NOT NULL AND c.id IS NULL""",
    ),
    Invariant(
        "I4",
        "only money that goes back has no checkout",
        """SELECT tenant_id, gateway, payment_id, kind, reason FROM payment_outcomes
           WHERE checkout_id IS NULL AND kind <> 'refund'""",
    ),
    *(Invariant(*sale) for sale in SALES),
)
_OUTCOMES = """
    SELECT o.tenant_id, o.gateway, o.payment_id, o.kind, o.amount,
           CASE o.kind WHEN 'refund' THEN o.amount ELSE coalesce((
               SELECT sum(r.amount) FROM order_refunds r
               WHERE r.tenant_id = o.tenant_id AND r.order_id = o.order_id AND r.status = 'refunded'), 0) END::bigint
               AS refunded
    FROM payment_outcomes o
"""
MOST_SHOWN = 10


async def check(url: str, *, quiet: bool = False) -> list[str]:
    """Every violation as a sentence; empty when all invariants hold. Reads one snapshot.

    `quiet`: nothing is in flight, so nothing may be unfinished either. `url`: the admin role's libpq URL.
    """
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        found: list[str] = []
        for invariant in INVARIANTS:
            if quiet or not invariant.only_when_quiet:
                rows = await (await connection.execute(invariant.violations)).fetchall()
                found += _sentences(invariant, rows)
    return found


async def check_ledger(url: str, captures: Iterable[tuple[str, str, str, int, int]]) -> list[str]:
    """I4 against the gateway's own ledger, when all is quiet: (tenant, gateway, payment, captured, refunded) each.

    Every capture has exactly one outcome: an order, of which as much went back as we have refunded; or a full refund.
    """
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        rows = await (await connection.execute(_OUTCOMES)).fetchall()
    outcomes = {(row["tenant_id"], row["gateway"], row["payment_id"]): row for row in rows}
    found = []
    for tenant, gateway, payment, captured, refunded in captures:
        outcome = outcomes.get((tenant, gateway, payment))
        if outcome is None:
            found.append(f"I4: payment {payment} of {gateway} ({tenant}) was captured and has no outcome")
        elif outcome["refunded"] != refunded or outcome["amount"] != captured:
            found.append(f"I4: payment {payment}: captured {captured}, refunded {refunded}, our outcome is {outcome}")
    return found


def _sentences(invariant: Invariant, rows: list[dict[str, Any]]) -> list[str]:
    shown = [f"{invariant.code}: {invariant.sentence}: not so for {_row(row)}" for row in rows[:MOST_SHOWN]]
    more = len(rows) - MOST_SHOWN
    return [*shown, f"{invariant.code}: … and {more} more"] if more > 0 else shown


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in row.items())
