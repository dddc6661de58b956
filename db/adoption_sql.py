"""The statements of `db/adoption.py`."""

# Whoever starts a checkout for the session waits for this row, and then sees whose the session is.
LOCK_SESSION = """
    SELECT user_key FROM sessions WHERE tenant_id = %(tenant)s AND id = %(session)s FOR UPDATE
"""

# Before the carts: the global lock order.
LOCK_CHECKOUTS = """
    SELECT FROM checkouts WHERE tenant_id = %(tenant)s AND buyer_key = %(anonymous)s ORDER BY id FOR UPDATE
"""

# After the checkouts and before the carts: the global lock order. The user's row may have to be made.
MAKE_COUNTER = """
    INSERT INTO limit_counters (tenant_id, subject) VALUES (%(tenant)s, 'owner:' || %(user)s) ON CONFLICT DO NOTHING
"""
LOCK_COUNTERS = """
    SELECT FROM limit_counters
    WHERE tenant_id = %(tenant)s AND subject IN ('owner:' || %(anonymous)s, 'owner:' || %(user)s)
    ORDER BY subject FOR UPDATE
"""

LOCK_CARTS = """
    SELECT id::text AS id FROM carts WHERE tenant_id = %(tenant)s AND owner_key IN (%(anonymous)s, %(user)s)
    ORDER BY owner_key FOR UPDATE
"""

# Units that the two carts' own live holds have: theirs beside what is free.
HELD = """
    SELECT l.product_id, sum(l.quantity)::integer AS quantity
    FROM carts k
    JOIN checkouts c ON c.tenant_id = k.tenant_id AND c.cart_id = k.id AND c.status = 'held'
    JOIN checkout_lines l ON l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.status = 'held'
    WHERE k.tenant_id = %(tenant)s AND k.owner_key IN (%(anonymous)s, %(user)s) AND l.product_id IS NOT NULL
    GROUP BY l.product_id
"""

MARK_SESSION = """
    UPDATE sessions SET user_key = %(user)s, adopted_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(session)s AND user_key IS NULL
"""

MOVE_CHECKOUTS = """
    UPDATE checkouts SET buyer_key = %(user)s, cart_id = CASE WHEN cart_id = %(old_cart)s THEN %(cart)s ELSE cart_id END
    WHERE tenant_id = %(tenant)s AND buyer_key = %(anonymous)s
"""
# What the session holds counts for the user from now on, even past the user's own limit: nothing is taken away.
MOVE_COUNTS = """
    WITH old AS (
        SELECT live_checkouts, held_lines, cooldown_until FROM limit_counters
        WHERE tenant_id = %(tenant)s AND subject = 'owner:' || %(anonymous)s
    ), emptied AS (
        UPDATE limit_counters SET live_checkouts = 0, held_lines = 0
        WHERE tenant_id = %(tenant)s AND subject = 'owner:' || %(anonymous)s
    )
    UPDATE limit_counters k SET live_checkouts = k.live_checkouts + old.live_checkouts,
        held_lines = k.held_lines + old.held_lines, cooldown_until = greatest(k.cooldown_until, old.cooldown_until)
    FROM old WHERE k.tenant_id = %(tenant)s AND k.subject = 'owner:' || %(user)s
"""
MOVE_ORDERS = """
    UPDATE orders SET buyer_key = %(user)s WHERE tenant_id = %(tenant)s AND buyer_key = %(anonymous)s
"""

MAKE_CART = "INSERT INTO carts (tenant_id, id, owner_key) VALUES (%(tenant)s, %(cart)s, %(user)s)"
FILL_CART = """
    WITH removed AS (
        DELETE FROM cart_lines
        WHERE tenant_id = %(tenant)s AND cart_id = %(cart)s AND product_id = ANY (%(removed)s::bigint[])
    )
    INSERT INTO cart_lines (tenant_id, cart_id, product_id, quantity)
    SELECT %(tenant)s, %(cart)s, * FROM unnest(%(products)s::bigint[], %(quantities)s::integer[])
    ON CONFLICT (tenant_id, cart_id, product_id) DO UPDATE SET quantity = excluded.quantity
"""
DROP_CART = """
    WITH lines AS (DELETE FROM cart_lines WHERE tenant_id = %(tenant)s AND cart_id = %(old_cart)s)
    DELETE FROM carts WHERE tenant_id = %(tenant)s AND id = %(old_cart)s
"""
HAND_ON_HOLD = """
    UPDATE carts SET status = %(status)s, checkout_id = %(checkout)s, updated_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(cart)s
"""
