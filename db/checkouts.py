"""Reading checkouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from db.database import Database, Rows, Statement
from domain.ids import BuyerKey, CheckoutId, GatewayName, PaymentId, TenantId

_CHECKOUT = """
    SELECT id::text AS id, buyer_key, fingerprint, status, currency, subtotal, discount, tax, total, created_at,
           held_at, expires_at, ended_at, refusal, clock_timestamp() AS now,
           CASE WHEN status = 'held'
                THEN greatest(0, ceil(extract(epoch FROM expires_at - clock_timestamp())))::integer ELSE 0
           END AS remaining_seconds
    FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s
"""
_LINES = """
    SELECT id, product_id, zone_id, seat_id, quantity, list_price, unit_price,
           tax_class, tax_rate_basis_points, tax_included, tax, status, locked_at, metadata
    FROM checkout_lines WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND removed_at IS NULL
    ORDER BY position, id
"""
# Those that were decided as they were decided; those that were not as we last heard. A payment may be decided on the
# gateway's own word before its webhook comes. `open`: it keeps the lines from being changed.
_PAYMENTS = """
    SELECT o.gateway, o.payment_id, o.amount, o.currency, o.kind AS outcome, o.order_id::text AS order_id, o.reason,
           o.quarantined, o.refund_status, o.decided_at, o.refunded_at,
           CASE WHEN p.status = 'refunded' OR o.refund_status = 'refunded' THEN 'refunded'
                ELSE 'captured' END AS status,
           false AS open
    FROM payment_outcomes o
    LEFT JOIN payments p ON p.tenant_id = o.tenant_id AND p.gateway = o.gateway AND p.payment_id = o.payment_id
    WHERE o.tenant_id = %(tenant)s AND o.checkout_id = %(checkout)s
    UNION ALL
    (SELECT p.gateway, p.payment_id, p.amount, p.currency, NULL, NULL, NULL, false, NULL, NULL, NULL, p.status,
            p.closed_at IS NULL AND p.status IN ('created', 'processing', 'failed', 'captured')
     FROM payments p
     WHERE p.tenant_id = %(tenant)s AND p.checkout_id = %(checkout)s AND NOT EXISTS (
         SELECT FROM payment_outcomes o
         WHERE o.tenant_id = p.tenant_id AND o.gateway = p.gateway AND o.payment_id = p.payment_id)
     ORDER BY p.known_at DESC LIMIT 50)
    ORDER BY decided_at, gateway, payment_id
"""

_CAPTURE = """
    SELECT amount, currency, checkout_id::text AS checkout_id, received_at FROM payment_events
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND kind = 'captured'
    ORDER BY received_at LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class CheckoutView:
    """A checkout as the row says it is now: its columns, its lines, its payments and what became of them.

    Lines that were taken out of it are not among them.
    """

    row: DictRow
    lines: list[DictRow]
    payments: list[DictRow]


async def read_checkout(
    db: Database, tenant: TenantId, checkout: CheckoutId, *, buyer: BuyerKey | None
) -> CheckoutView | None:
    """The checkout if it exists and is the buyer's (any buyer's when None). One round trip."""
    view = view_of(await db.run(tenant, *view_statements(tenant, checkout)))
    return view if view is not None and buyer in (None, view.row["buyer_key"]) else None


def view_statements(tenant: TenantId, checkout: CheckoutId) -> list[Statement]:
    """What `view_of` makes a view of, for callers that read more in the same round trip."""
    values = {"tenant": tenant, "checkout": checkout}
    return [(sql, values) for sql in (_CHECKOUT, _LINES, _PAYMENTS)]


def view_of(results: Sequence[Rows]) -> CheckoutView | None:
    """The view that the results of `view_statements` show; None when there is no such checkout."""
    rows, lines, payments = results
    return CheckoutView(rows[0], lines, payments) if rows else None


async def read_claimed(
    db: Database, tenant: TenantId, checkout: CheckoutId, gateway: GatewayName, payment: PaymentId, *, buyer: BuyerKey
) -> tuple[CheckoutView | None, DictRow | None]:
    """The buyer's checkout, and the capture of this payment that a signed webhook has already told of, if any.

    One round trip.
    """
    capture = (_CAPTURE, {"tenant": tenant, "gateway": gateway, "payment": payment})
    *results, captures = await db.run(tenant, *view_statements(tenant, checkout), capture)
    view = view_of(results)
    if view is None or view.row["buyer_key"] != buyer:
        return None, None
    return view, captures[0] if captures else None
