"""The statements of `db/settle.py`."""

from db.telling import telling
from domain.checkout import CheckoutStatus
from domain.checkout_events import CheckoutEventKind

LOCK = """
    SELECT status, expires_at, total, currency, cart_id FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s
    FOR UPDATE
"""

# A statement of its own, after the lock was had: its clock and its snapshot are later than the lock's wait.
# A payment that was decided before is not in hand, whatever a later event says of it. What is only of use at the end of
# a hold is only looked for there.
LOOK = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
    SELECT clock.now, t.late_payments AS policy,
           greatest(0, ceil(extract(epoch FROM c.expires_at - clock.now) * 1000))::bigint AS remaining_ms,
           paid.gateway AS paid_gateway, paid.payment_id AS paid_by,
           decided.kind AS decided, decided.reason AS decided_reason,
           CASE WHEN %(payment)s::text IS NOT NULL THEN EXISTS (
               SELECT FROM payments p
               WHERE p.tenant_id = c.tenant_id AND p.gateway = %(gateway)s AND p.payment_id = %(payment)s
                 AND p.known_at < c.expires_at)
           ELSE false END AS known_in_time,
           CASE WHEN %(payment)s::text IS NOT NULL THEN EXISTS (
               SELECT FROM payment_events e
               WHERE e.tenant_id = c.tenant_id AND e.gateway = %(gateway)s AND e.payment_id = %(payment)s
                 AND e.kind = 'refunded')
           ELSE false END AS given_back,
           CASE WHEN %(looks_for_payment)s AND c.expires_at <= clock.now THEN (
               SELECT jsonb_build_object('gateway', e.gateway, 'payment_id', e.payment_id, 'amount', e.amount,
                                         'currency', e.currency, 'received_at', e.received_at, 'known_in_time', EXISTS (
                                             SELECT FROM payments p
                                             WHERE p.tenant_id = e.tenant_id AND p.gateway = e.gateway
                                               AND p.payment_id = e.payment_id AND p.known_at < c.expires_at))
               FROM payment_events e
               WHERE e.tenant_id = c.tenant_id AND e.checkout_id = c.id AND e.kind = 'captured'
                 AND e.state <> 'settled' AND e.amount = c.total AND e.currency = c.currency
                 AND NOT EXISTS (
                     SELECT FROM payment_events r WHERE r.tenant_id = e.tenant_id
                       AND r.gateway = e.gateway AND r.payment_id = e.payment_id AND r.kind = 'refunded')
                 AND NOT EXISTS (
                     SELECT FROM payment_outcomes o WHERE o.tenant_id = e.tenant_id
                       AND o.gateway = e.gateway AND o.payment_id = e.payment_id)
               ORDER BY e.received_at LIMIT 1)
           END AS in_hand,
           CASE WHEN %(looks_for_payment)s AND c.expires_at <= clock.now THEN
               c.expires_at + make_interval(secs => c.payment_grace_seconds) END AS waits_until,
           CASE WHEN %(looks_for_payment)s AND c.expires_at <= clock.now THEN
               EXISTS (SELECT FROM payments p
                       WHERE p.tenant_id = c.tenant_id AND p.checkout_id = c.id AND p.closed_at IS NULL
                         AND p.status IN ('created', 'processing', 'failed') AND p.known_at < c.expires_at)
               OR EXISTS (SELECT FROM payment_starts s
                          WHERE s.tenant_id = c.tenant_id AND s.checkout_id = c.id AND s.closed_at IS NULL
                            AND s.payment_id IS NULL)
           ELSE false END AS in_flight
    FROM clock
    JOIN checkouts c ON c.tenant_id = %(tenant)s AND c.id = %(checkout)s
    JOIN tenants t ON t.id = %(tenant)s
    LEFT JOIN payment_outcomes paid
        ON paid.tenant_id = c.tenant_id AND paid.checkout_id = c.id AND paid.kind = 'order'
    LEFT JOIN payment_outcomes decided
        ON decided.tenant_id = c.tenant_id AND decided.gateway = %(gateway)s AND decided.payment_id = %(payment)s
"""

# Before the stock items, in the global lock order. The statement after it reads the cart's lines, with a snapshot
# younger than the wait for this lock.
LOCK_CART = "SELECT FROM carts WHERE tenant_id = %(tenant)s AND id = %(cart)s FOR UPDATE"

# The cart loses what was sold, and no more: a cart that was merged into this one while it was held stays. By the time
# of a late payment the cart may be in another checkout's hands, which then has it as it was.
TAKE_FROM_CART = """
    WITH sold AS MATERIALIZED (
        SELECT product_id, sum(quantity)::integer AS quantity FROM checkout_lines
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND status = 'held'
          AND (NOT %(late)s OR EXISTS (
              SELECT FROM carts WHERE tenant_id = %(tenant)s AND id = %(cart)s AND status = 'available'))
        GROUP BY product_id
    ), taken AS (
        DELETE FROM cart_lines l USING sold
        WHERE l.tenant_id = %(tenant)s AND l.cart_id = %(cart)s AND l.product_id = sold.product_id
          AND l.quantity <= sold.quantity
    )
    UPDATE cart_lines l SET quantity = l.quantity - sold.quantity FROM sold
    WHERE l.tenant_id = %(tenant)s AND l.cart_id = %(cart)s AND l.product_id = sold.product_id
      AND l.quantity > sold.quantity
"""

# The cart is free again, unless another live hold of it is left: carts that were each held may have been merged.
FREE_CART = """
    WITH freed AS (
        UPDATE carts k SET checkout_id = other.id, updated_at = %(at)s,
            status = CASE WHEN other.id IS NULL THEN 'available' ELSE 'processing' END
        FROM (SELECT (SELECT c.id FROM checkouts c
                      WHERE c.tenant_id = %(tenant)s AND c.cart_id = %(cart)s AND c.status = 'held'
                        AND c.id <> %(checkout)s ORDER BY c.held_at, c.id LIMIT 1) AS id) other
        WHERE k.tenant_id = %(tenant)s AND k.id = %(cart)s AND k.checkout_id = %(checkout)s
        RETURNING k.id, k.status, k.checkout_id
    )
    INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
    SELECT %(tenant)s, 'system:checkout', 'cart.' || %(becomes)s, 'cart:' || id,
           jsonb_build_object('status', 'processing', 'checkout_id', %(checkout)s::text),
           jsonb_build_object('status', status, 'checkout_id', checkout_id)
    FROM freed
"""

NOTE_LATE_CART = """
    INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
    SELECT %(tenant)s, 'system:checkout', 'cart.confirmed', 'cart:' || id, NULL,
           jsonb_build_object('status', status, 'sold_late_with', %(checkout)s::text)
    FROM carts WHERE tenant_id = %(tenant)s AND id = %(cart)s AND status = 'available'
"""

# reserved → sold, order and order lines, and the payment's outcome: one statement, so one plan and one message.
# The stock items are locked in id order before the update touches them.
CONFIRM_CHECKOUT = f"""
    WITH ended AS (
        UPDATE checkouts SET status = 'confirmed', ended_at = %(at)s
        WHERE tenant_id = %(tenant)s AND id = %(checkout)s AND status = 'held'
        RETURNING *
    ), lines AS (
        UPDATE checkout_lines SET status = 'sold'
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND status = 'held'
          AND EXISTS (SELECT FROM ended)
        RETURNING *
    ), locked AS MATERIALIZED (
        SELECT id FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM lines))
        ORDER BY id FOR NO KEY UPDATE
    ), moved AS (
        UPDATE stock_items s SET reserved = s.reserved - l.quantity, sold = s.sold + l.quantity
        FROM (SELECT stock_item_id, sum(quantity)::integer AS quantity FROM lines GROUP BY 1) l
        JOIN locked ON locked.id = l.stock_item_id
        WHERE s.tenant_id = %(tenant)s AND s.id = l.stock_item_id
    ), ordered AS (
        INSERT INTO orders (tenant_id, id, checkout_id, buyer_key, currency, subtotal, discount, tax, total,
                            gateway, payment_id, created_at)
        SELECT tenant_id, %(order)s, id, buyer_key, currency, subtotal, discount, tax, total,
               %(gateway)s, %(payment)s, %(at)s
        FROM ended
    ), order_lines AS (
        INSERT INTO order_lines (tenant_id, order_id, position, stock_item_id, product_id, zone_id, seat_id, name,
                                 quantity, list_price, unit_price, tax_class, tax_rate_basis_points, tax_included, tax,
                                 metadata)
        SELECT l.tenant_id, %(order)s, row_number() OVER (ORDER BY l.position, l.id), l.stock_item_id, l.product_id,
               l.zone_id, l.seat_id,
               coalesce(p.name, concat_ws(', ', e.name, z.name, st.row_name || ' ' || st.number)),
               l.quantity, l.list_price, l.unit_price, l.tax_class, l.tax_rate_basis_points, l.tax_included, l.tax,
               l.metadata
        FROM lines l
        LEFT JOIN products p ON p.tenant_id = l.tenant_id AND p.id = l.product_id
        LEFT JOIN seats st ON st.tenant_id = l.tenant_id AND st.id = l.seat_id
        LEFT JOIN zones z ON z.tenant_id = l.tenant_id AND z.id = l.zone_id
        LEFT JOIN events e ON e.tenant_id = z.tenant_id AND e.id = z.event_id
    ), news AS (
        SELECT tenant_id, id AS checkout_id, %(at)s::timestamptz AS at, jsonb_build_object(
            'order_id', %(order)s::uuid, 'total', total, 'currency', currency,
            'gateway', %(gateway)s::text, 'payment_id', %(payment)s::text) AS data
        FROM ended
    ), {telling("news", CheckoutEventKind.CONFIRMED)}
    INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, order_id, amount, currency,
                                  decided_at)
    SELECT tenant_id, %(gateway)s, %(payment)s, id, 'order', %(order)s, %(amount)s, %(payment_currency)s, %(at)s
    FROM ended
"""

_RELEASE = """
    WITH ended AS (
        UPDATE checkouts SET status = %(becomes)s, ended_at = %(at)s
        WHERE tenant_id = %(tenant)s AND id = %(checkout)s AND status = 'held'
        RETURNING tenant_id, id, total, currency
    ), lines AS (
        UPDATE checkout_lines SET status = 'released'
        WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND status = 'held'
          AND EXISTS (SELECT FROM ended)
        RETURNING stock_item_id, quantity
    ), locked AS MATERIALIZED (
        SELECT id FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM lines))
        ORDER BY id FOR NO KEY UPDATE
    ), news AS (
        SELECT tenant_id, id AS checkout_id, %(at)s::timestamptz AS at,
               jsonb_build_object('total', total, 'currency', currency) AS data
        FROM ended
    ), {telling}
    UPDATE stock_items s SET reserved = s.reserved - l.quantity
    FROM (SELECT stock_item_id, sum(quantity)::integer AS quantity FROM lines GROUP BY 1) l
    JOIN locked ON locked.id = l.stock_item_id
    WHERE s.tenant_id = %(tenant)s AND s.id = l.stock_item_id
"""
RELEASE_CHECKOUT = {
    status: _RELEASE.replace("{telling}", telling("news", CheckoutEventKind(status)))
    for status in (CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED)
}

# The intent is stored before any gateway is called.
REFUND_PAYMENT = f"""
    WITH decided AS (
        INSERT INTO payment_outcomes (tenant_id, gateway, payment_id, checkout_id, kind, amount, currency, reason,
                                      quarantined, refund_status, decided_at)
        VALUES (%(tenant)s, %(gateway)s, %(payment)s, %(checkout)s, 'refund', %(amount)s, %(payment_currency)s,
                %(reason)s, %(quarantined)s, 'intended', %(at)s)
        RETURNING tenant_id, gateway, payment_id, checkout_id, amount, currency, reason, decided_at AS at
    ), news AS (
        SELECT d.tenant_id, d.checkout_id, d.at, jsonb_build_object(
            'gateway', d.gateway, 'payment_id', d.payment_id, 'amount', d.amount, 'currency', d.currency,
            'reason', d.reason) AS data
        FROM decided d JOIN checkouts c ON c.tenant_id = d.tenant_id AND c.id = d.checkout_id
        WHERE c.held_at IS NOT NULL
    ), {telling("news", CheckoutEventKind.REFUND_DECIDED)}
    SELECT count(*) FROM decided
"""

SETTLE_EVENTS = """
    UPDATE payment_events SET state = 'settled', settled_at = %(at)s
    WHERE tenant_id = %(tenant)s AND gateway = %(gateway)s AND payment_id = %(payment)s AND state <> 'settled'
"""

# While the end waits for a payment, nobody is shown these units as free, and nobody tries to free them.
KEEP_LINES = """
    UPDATE checkout_lines SET expires_at = %(waits_until)s
    WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND status = 'held' AND expires_at < %(waits_until)s
"""
