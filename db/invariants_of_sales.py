"""The invariants of taxes and fiscal numbers, for `db/invariants.py`: (code, sentence, rows for which it fails)."""

from __future__ import annotations

from db.tax_sql import tax_on

_TAX = tax_on("(l.unit_price * l.quantity)", "l.tax_rate_basis_points", "l.tax_included")
_LINES = """
    SELECT tenant_id, checkout_id AS of, quantity, unit_price, tax_class, tax_rate_basis_points, tax_included, tax
    FROM checkout_lines
    UNION ALL
    SELECT tenant_id, order_id, quantity, unit_price, tax_class, tax_rate_basis_points, tax_included, tax
    FROM order_lines
"""
_NUMBERS = """
    SELECT o.tenant_id, o.id, o.fiscal_series, o.fiscal_sequence AS number, o.fiscal_issued_at AS at, r.first_number,
           r.last_number, o.fiscal_range_id AS of_range, lag(o.fiscal_sequence) OVER series AS before,
           lag(o.fiscal_issued_at) OVER series AS at_before, lag(o.fiscal_range_id) OVER series AS range_before
    FROM orders o
    LEFT JOIN fiscal_ranges r ON r.tenant_id = o.tenant_id AND r.id = o.fiscal_range_id AND r.series = o.fiscal_series
    WHERE o.fiscal_status = 'issued'
    WINDOW series AS (PARTITION BY o.tenant_id, o.fiscal_series ORDER BY o.fiscal_sequence)
"""

SALES: tuple[tuple[str, str, str], ...] = (
    (
        "I5",
        "a line has the tax of its rate, on what it costs, rounded half up",
        f"""SELECT tenant_id, of, quantity, unit_price, tax_rate_basis_points, tax_included, tax FROM ({_LINES}) l
            WHERE tax IS DISTINCT FROM {_TAX} OR (tax_class IS NULL AND tax_rate_basis_points <> 0)""",
    ),
    (
        "I5",
        "the taxes that prices do not include add up to a checkout's",
        """SELECT c.tenant_id, c.id, c.status, c.tax, sum(l.tax) FILTER (WHERE NOT l.tax_included) AS lines
           FROM checkouts c JOIN checkout_lines l
               ON l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.removed_at IS NULL
           WHERE c.status NOT IN ('new', 'refused') GROUP BY c.tenant_id, c.id
           HAVING coalesce(sum(l.tax) FILTER (WHERE NOT l.tax_included), 0) <> c.tax""",
    ),
    (
        "I6",
        "the taxes that prices do not include add up to an order's, and are those of its checkout",
        """SELECT o.tenant_id, o.id, o.tax, c.tax AS of_checkout FROM orders o
           JOIN checkouts c ON c.tenant_id = o.tenant_id AND c.id = o.checkout_id
           JOIN order_lines l ON l.tenant_id = o.tenant_id AND l.order_id = o.id
           GROUP BY o.tenant_id, o.id, c.tenant_id, c.id
           HAVING o.tax <> c.tax OR coalesce(sum(l.tax) FILTER (WHERE NOT l.tax_included), 0) <> o.tax""",
    ),
    (
        "I6",
        "fiscal numbers are within their range, without gaps, and later ones have later times",
        f"""SELECT * FROM ({_NUMBERS}) n
            WHERE number NOT BETWEEN first_number AND last_number OR first_number IS NULL OR at <= at_before
               OR number <> CASE WHEN of_range = range_before THEN before + 1 ELSE first_number END
               OR (range_before IS NOT NULL AND number <= before)""",
    ),
    (
        "I6",
        "a fiscal number is its series' prefix and its digits, and no other order has it",
        """SELECT o.tenant_id, o.id, o.fiscal_number, count(*) OVER same AS orders FROM orders o
           LEFT JOIN fiscal_series s ON s.tenant_id = o.tenant_id AND s.name = o.fiscal_series
           LEFT JOIN orders other ON other.tenant_id = o.tenant_id AND other.fiscal_number = o.fiscal_number
               AND other.id <> o.id
           WHERE o.fiscal_status = 'issued' AND (other.id IS NOT NULL OR o.fiscal_number IS DISTINCT FROM s.prefix
               || lpad(o.fiscal_sequence::text, greatest(s.padding, length(o.fiscal_sequence::text)), '0'))
           WINDOW same AS (PARTITION BY o.tenant_id, o.fiscal_number)""",
    ),
    (
        "I6",
        "a series' counter stands behind its last number, and counts the orders that wait",
        """SELECT s.tenant_id, s.name, s.next_number, s.waiting, o.last, o.waiting AS orders FROM fiscal_series s
           LEFT JOIN LATERAL (
               SELECT max(fiscal_sequence) AS last, max(fiscal_issued_at) AS issued,
                   max(fiscal_pending_at) FILTER (WHERE fiscal_status = 'pending') AS latest,
                   count(*) FILTER (WHERE fiscal_status = 'pending') AS waiting
               FROM orders WHERE tenant_id = s.tenant_id AND fiscal_series = s.name) o ON true
           WHERE s.waiting <> o.waiting OR s.next_number - 1 IS DISTINCT FROM o.last
              OR greatest(o.issued, o.latest) > s.last_at""",
    ),
    (
        "I6",
        "an order that waits for a number was not confirmed before one that has one",
        """SELECT o.tenant_id, o.id, o.fiscal_pending_at FROM orders o
           WHERE o.fiscal_status = 'pending' AND EXISTS (
               SELECT FROM orders n WHERE n.tenant_id = o.tenant_id AND n.fiscal_series = o.fiscal_series
                 AND n.fiscal_status = 'issued' AND n.fiscal_pending_at > o.fiscal_pending_at)""",
    ),
)
