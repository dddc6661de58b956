"""The statements of `db/reserve.py`.

Lines come from the start itself, or from the buyer's cart as it is once its row is locked.
"""

from db.asked_sql import ANYTHING, PRODUCTS, asked_statement
from db.limits_sql import COUNT, hit_statement, refusal, subjects_of
from db.tax_sql import TAX_COLUMNS

# An anonymous buyer who logs in keeps what the session holds. The session's row, locked, says whose it is now, so that
# a start on its way at that moment is not left behind with the session. The tenant's row is locked as the foreign key
# locks it a moment later anyway: the currency that is read is then the one that stays (db/tenant_settings.py).
OPEN = f"""
    WITH opened AS (
        INSERT INTO checkouts (tenant_id, id, buyer_key, address_key, fingerprint, status, currency,
                               hold_seconds, extension_seconds, maximum_seconds, auto_extend,
                               payment_grace_seconds)
        SELECT id, %(checkout)s, coalesce((
                   SELECT user_key FROM sessions WHERE tenant_id = %(tenant)s AND sessions.id = %(session)s
                   FOR SHARE), %(buyer)s),
               %(address)s, %(fingerprint)s, 'new', currency, hold_seconds, extension_seconds, maximum_seconds,
               auto_extend, payment_grace_seconds
        FROM tenants WHERE id = %(tenant)s AND clock_timestamp() < %(deadline)s
        FOR KEY SHARE OF tenants
        ON CONFLICT DO NOTHING RETURNING buyer_key, address_key
    )
    INSERT INTO limit_counters (tenant_id, subject)
    SELECT %(tenant)s, subject FROM opened CROSS JOIN LATERAL unnest({subjects_of("opened")}) AS subject
    ORDER BY subject ON CONFLICT DO NOTHING
"""

# For what locks more before it reserves (db/reserve_together.py): the checkout, and the items of these lines.
LOCK_NEW = """
    SELECT id FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s AND status = 'new' AND clock_timestamp() < %(deadline)s
    FOR UPDATE
"""
LOCK_ITEMS = """
    SELECT FROM stock_items
    WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(
        SELECT stock_item_id FROM products WHERE tenant_id = %(tenant)s AND id = ANY (%(products)s::bigint[])
        UNION ALL
        SELECT stock_item_id FROM zones WHERE tenant_id = %(tenant)s AND id = ANY (%(zones)s::bigint[])
        UNION ALL
        SELECT stock_item_id FROM seats WHERE tenant_id = %(tenant)s AND id = ANY (%(seats)s::bigint[])))
    ORDER BY id FOR NO KEY UPDATE
"""

# The checkout remembers which cart was locked: one that somebody makes in the next moment is not it. The cart's lines
# are read by a statement after this one, whose snapshot is younger than the wait for the lock: what is reserved is the
# whole cart as it is then.
LOCK_CART = """
    UPDATE checkouts c SET cart_id = (
        SELECT k.id FROM carts k WHERE k.tenant_id = %(tenant)s AND k.owner_key = c.buyer_key FOR UPDATE)
    WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s AND c.status = 'new' AND clock_timestamp() < %(deadline)s
"""

# A cart that is held past its hold's end refuses nothing yet: the caller ends that hold first, and comes again.
REFUSE_BY_CART = """
    UPDATE checkouts c SET status = 'refused', cart_id = NULL, refusal = CASE
        WHEN k.status = 'processing' THEN jsonb_build_object('code', 'cart_processing', 'checkout_id', k.checkout_id)
        ELSE jsonb_build_object('code', 'cart_empty') END
    FROM (SELECT) AS one
    LEFT JOIN carts k ON k.tenant_id = %(tenant)s AND k.id = (
        SELECT cart_id FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s)
    LEFT JOIN checkouts h ON h.tenant_id = %(tenant)s AND h.id = k.checkout_id
    WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s AND c.status = 'new' AND clock_timestamp() < %(deadline)s
      AND (k.id IS NULL
           OR k.status = 'processing' AND (%(final)s OR h.id IS NULL OR h.expires_at > clock_timestamp())
           OR k.status = 'available' AND NOT EXISTS (
               SELECT FROM cart_lines l WHERE l.tenant_id = %(tenant)s AND l.cart_id = k.id))
"""

_LINES_OF_CART = """(
            SELECT product_id, quantity, row_number() OVER (ORDER BY added_at, product_id) AS position
            FROM cart_lines WHERE tenant_id = %(tenant)s AND cart_id = (SELECT id FROM cart)) AS a"""

_CART = """cart AS MATERIALIZED (
        SELECT k.id FROM carts k JOIN mine ON k.id = mine.cart_id
        WHERE k.tenant_id = %(tenant)s AND k.status = 'available'
    ), """
_CLAIM_CART = """, claimed AS (
        UPDATE carts k SET status = 'processing', checkout_id = %(checkout)s, updated_at = at
        FROM cart, decision WHERE decision.held AND k.tenant_id = %(tenant)s AND k.id = cart.id
    ), noted AS (
        INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
        SELECT %(tenant)s, mine.buyer_key, 'cart.processing', 'cart:' || cart.id,
               jsonb_build_object('status', 'available'),
               jsonb_build_object('status', 'processing', 'checkout_id', %(checkout)s::text)
        FROM mine, cart, decision WHERE decision.held
    )"""

# One statement: the checkout row is locked, then the stock items in id order; availability is what the locked rows
# say (never a count taken in the statement that locks: that oversells, measured), and every write hangs on it.
# The clock is read in `verdict`, after the locks were had.
# `taken` writes the row as it was locked, plus the units. Written from `s`, the constraints would first be tried on the
# statement's older snapshot of the row: units given back while we waited for the lock would look oversold (measured).
# A shortage that an overdue hold stands behind is not decided here: the row stays `new` and the caller frees first. So
# it is with seats that are still to be picked; what became of that is in `together`, by zone, when it is final.
# `wanted` is what all lines of one thing ask for. A line's metadata waits under its place in the request: its position,
# unless `origins` says another, as where several seats came of one line.
_RESERVE = """
    WITH mine AS MATERIALIZED (
        SELECT c.id, c.buyer_key, c.address_key, c.cart_id, c.hold_seconds, {subjects} AS subjects,
               'owner:' || c.buyer_key AS owner, 'address:' || c.address_key AS address
        FROM checkouts c
        WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s AND c.status = 'new'
          AND clock_timestamp() < %(deadline)s
        FOR UPDATE
    ), {cart}asked AS MATERIALIZED ({asked}
    ), locked AS MATERIALIZED (
        SELECT id, total, reserved, sold, total - reserved - sold AS free FROM stock_items
        WHERE tenant_id = %(tenant)s AND id = ANY (ARRAY(SELECT stock_item_id FROM asked WHERE fault IS NULL))
        ORDER BY id FOR NO KEY UPDATE
    ), judged AS MATERIALIZED (
        SELECT asked.*, locked.total, locked.reserved, locked.sold, coalesce(locked.free, 0) AS free,
               fault IS NULL AND {guard} AS fits
        FROM (SELECT asked.*, {wanted} AS wanted FROM asked) asked LEFT JOIN locked ON locked.id = asked.stock_item_id
    ), verdict AS MATERIALIZED (
        SELECT bool_and(fits) AS fits, clock_timestamp() AS at,
               coalesce(sum(list_price * quantity), 0)::bigint AS subtotal,
               coalesce(sum((list_price - unit_price) * quantity), 0)::bigint AS discount,
               coalesce(sum(CASE WHEN tax_included THEN 0 ELSE tax END), 0)::bigint AS tax,
               coalesce(sum(unit_price * quantity + CASE WHEN tax_included THEN 0 ELSE tax END), 0)::bigint AS total
        FROM judged HAVING count(*) > 0
    ), size AS MATERIALIZED (
        SELECT count(*)::integer AS lines FROM judged
    ), hit AS MATERIALIZED (
        SELECT limits.* FROM mine, size, verdict CROSS JOIN LATERAL ({hit}) limits
    ), decision AS MATERIALIZED (
        SELECT verdict.*, fits AND coalesce(verdict.total = %(expected_total)s::bigint, true)
                   AND NOT EXISTS (SELECT FROM hit) AS held,
               at + make_interval(secs => hold_seconds) AS ends
        FROM verdict CROSS JOIN mine
        WHERE %(final)s OR CASE
            WHEN EXISTS (SELECT FROM hit) THEN NOT EXISTS (
                SELECT FROM checkouts c
                WHERE c.tenant_id = %(tenant)s AND c.status = 'held' AND c.expires_at <= at
                  AND (c.buyer_key = mine.buyer_key OR c.address_key = mine.address_key))
            ELSE fits OR NOT EXISTS (
                SELECT FROM judged JOIN checkout_lines l
                    ON l.tenant_id = %(tenant)s AND l.stock_item_id = judged.stock_item_id AND l.status = 'held'
                WHERE NOT judged.fits AND judged.fault IS NULL AND l.expires_at <= at)
                AND NOT EXISTS (SELECT FROM judged WHERE fault = 'numbered')
            END
    ), {count}, taken AS (
        UPDATE stock_items s SET total = judged.total, reserved = judged.reserved + judged.wanted, sold = judged.sold
        FROM judged, decision
        WHERE decision.held AND s.tenant_id = %(tenant)s AND s.id = judged.stock_item_id
    ), lines AS (
        INSERT INTO checkout_lines (tenant_id, checkout_id, position, stock_item_id, product_id, zone_id, seat_id,
                                    quantity, list_price, unit_price, {tax}, locked_at, expires_at, metadata)
        SELECT %(tenant)s, %(checkout)s, position, stock_item_id, product_id, zone_id, seat_id,
               quantity, list_price, unit_price, {of_line}, at, ends, (
                   SELECT metadata FROM line_metadata
                   WHERE tenant_id = %(tenant)s AND checkout_id = %(checkout)s AND fingerprint = %(fingerprint)s
               ) -> coalesce((%(origins)s::integer[])[position], position)::text
        FROM judged, decision WHERE decision.held ORDER BY position
    ), told AS (
        INSERT INTO checkout_events (tenant_id, checkout_id, seq, kind, data, at)
        SELECT %(tenant)s, %(checkout)s, 1, 'held', jsonb_build_object('expires_at', ends, 'total', total), at
        FROM decision WHERE held
    ){claim}
    UPDATE checkouts c SET
        status = CASE WHEN held THEN 'held' ELSE 'refused' END,
        subtotal = d.subtotal, discount = d.discount, tax = d.tax, total = d.total,
        cart_id = CASE WHEN held THEN {cart_id} END,
        held_at = CASE WHEN held THEN at END,
        expires_at = CASE WHEN held THEN ends END,
        refusal = CASE
            WHEN held THEN NULL
            WHEN EXISTS (SELECT FROM hit) THEN (SELECT {limit} FROM hit, mine)
            WHEN fits THEN jsonb_build_object('code', 'price_changed', 'total', d.total)
            ELSE jsonb_build_object('code', 'insufficient_stock', 'shortages', (
                SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                    'product_id', product_id, 'zone_id', zone_id, 'seat_id', seat_id
                )) || jsonb_build_object(
                    'requested', wanted, 'available', free, 'reason', coalesce(fault, 'sold_out'),
                    'free_at', (SELECT min(l.expires_at) FROM checkout_lines l
                                WHERE l.tenant_id = %(tenant)s AND l.stock_item_id = judged.stock_item_id
                                  AND l.status = 'held' AND l.expires_at > at)
                ) || CASE WHEN fault = 'numbered' THEN coalesce(%(together)s::jsonb -> zone_id::text, '{}')
                          ELSE '{}' END ORDER BY position)
                FROM (SELECT DISTINCT ON (product_id, zone_id, seat_id) * FROM judged WHERE NOT fits
                      ORDER BY product_id, zone_id, seat_id, position) judged))
        END
    FROM decision d
    WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
"""
GUARD = "coalesce(locked.free, 0) >= asked.wanted"
"""The comparison that prevents overselling; a test takes it away to show that the race test would see it missing."""

OUTCOME = """
    SELECT status, total, currency,
           greatest(0, ceil(extract(epoch FROM expires_at - clock_timestamp()) * 1000))::bigint AS remaining_ms
    FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s
"""


_WANTED_BY_ALL = "sum(quantity) OVER (PARTITION BY product_id, zone_id, seat_id)::integer"


def reserve_statement(
    guard: str = GUARD, *, from_cart: bool = False, anything: bool = False, repeated: bool = False
) -> str:
    """The statement that holds the lines of the start (`anything`: not only of products; `repeated`: several of one
    thing), or of the cart."""
    lines = ANYTHING if anything else PRODUCTS
    parts = {
        "{guard}": guard,
        "{asked}": asked_statement(f"mine CROSS JOIN {_LINES_OF_CART if from_cart else lines}", anything=anything),
        "{wanted}": _WANTED_BY_ALL if repeated else "quantity",
        "{cart}": _CART if from_cart else "",
        "{claim}": _CLAIM_CART if from_cart else "",
        "{cart_id}": "(SELECT id FROM cart)" if from_cart else "NULL::uuid",
        "{subjects}": subjects_of("c"),
        "{hit}": hit_statement(owner="mine.owner", address="mine.address", lines="size.lines", at="verdict.at"),
        "{limit}": refusal(buyer="mine.buyer_key", address_key="mine.address_key", at="d.at"),
        "{count}": COUNT,
        "{tax}": TAX_COLUMNS,
        "{of_line}": ", ".join(f"judged.{column}" for column in TAX_COLUMNS.split(", ")),
    }
    statement = _RESERVE
    for name, sql in parts.items():
        statement = statement.replace(name, sql)
    return statement
