"""The statements of `db/adoption.py`."""

# Whoever starts a checkout for the session waits for this row, and then sees whose the session is.
LOCK_SESSION = """
    SELECT user_key FROM sessions WHERE tenant_id = %(tenant)s AND id = %(session)s FOR UPDATE
"""

# Before the carts: the global lock order.
LOCK_CHECKOUTS = """
    SELECT FROM checkouts WHERE tenant_id = %(tenant)s AND buyer_key = %(anonymous)s ORDER BY id FOR UPDATE
"""

LOCK_CARTS = """
    SELECT FROM carts WHERE tenant_id = %(tenant)s AND owner_key IN (%(anonymous)s, %(user)s)
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
MOVE_ORDERS = """
    UPDATE orders SET buyer_key = %(user)s WHERE tenant_id = %(tenant)s AND buyer_key = %(anonymous)s
"""

DROP_CART = """
    WITH lines AS (DELETE FROM cart_lines WHERE tenant_id = %(tenant)s AND cart_id = %(old_cart)s)
    DELETE FROM carts WHERE tenant_id = %(tenant)s AND id = %(old_cart)s
"""
HAND_ON_HOLD = """
    UPDATE carts SET status = %(status)s, checkout_id = %(checkout)s WHERE tenant_id = %(tenant)s AND id = %(cart)s
"""
