"""Limits on what one owner or address may hold, as parts of the statements that hold and settle.

A checkout is counted in the rows of its subjects: its owner's, unless that is a service, which sells for many; and its
address's, where the tenant limits addresses. They are locked after the checkout and before the cart.
"""


def subjects_of(checkout: str) -> str:
    """The subjects of a row of checkouts, as SQL: an array without NULLs."""
    owner = f"CASE WHEN {checkout}.buyer_key NOT LIKE 'service:%%' THEN 'owner:' || {checkout}.buyer_key END"
    return f"array_remove(ARRAY[{owner}, 'address:' || {checkout}.address_key], NULL)"


LOCK_COUNTERS = f"""
    SELECT FROM limit_counters
    WHERE tenant_id = %(tenant)s AND subject = ANY (ARRAY(
        SELECT unnest({subjects_of("c")}) FROM checkouts c
        WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s AND c.status = 'new'
          AND clock_timestamp() < %(deadline)s))
    ORDER BY subject FOR UPDATE
"""

_HIT = """
        SELECT l.name, l.most, l.until FROM tenants t
        LEFT JOIN limit_counters o ON o.tenant_id = %(tenant)s AND o.subject = {owner}
        LEFT JOIN limit_counters a ON a.tenant_id = %(tenant)s AND a.subject = {address}
        CROSS JOIN LATERAL (VALUES
            ('lines', t.max_lines, {lines} > t.max_lines, NULL::timestamptz),
            ('cooldown', NULL, o.cooldown_until > {at}, o.cooldown_until),
            ('checkouts_per_owner', t.max_checkouts_per_owner, o.live_checkouts >= t.max_checkouts_per_owner, NULL),
            ('checkouts_per_address', t.max_checkouts_per_address,
             a.live_checkouts >= t.max_checkouts_per_address, NULL),
            ('held_lines', t.max_held_lines, o.held_lines + {lines} > t.max_held_lines, NULL)
        ) AS l (name, most, hit, until)
        WHERE t.id = %(tenant)s AND l.hit LIMIT 1"""

_FREES_AT = """CASE WHEN hit.name = 'lines' THEN NULL WHEN hit.until IS NOT NULL THEN hit.until ELSE (
                    SELECT min(c.expires_at) FROM checkouts c
                    WHERE c.tenant_id = %(tenant)s AND c.status = 'held' AND c.expires_at > {at}
                      AND CASE WHEN hit.name = 'checkouts_per_address' THEN c.address_key = {address_key}
                               ELSE c.buyer_key = {buyer} END) END"""


def hit_statement(*, owner: str, address: str, lines: str, at: str) -> str:
    """The first limit that so many more lines would pass, as name, most, until; no row when none.

    `owner` and `address` must be plain columns or parameters: an expression over another table's column is not
    leakproof, and would make row-level security read all of a tenant's counters.
    """
    return _HIT.format(owner=owner, address=address, lines=lines, at=at)


def refusal(*, buyer: str, address_key: str, at: str) -> str:
    """What is stored of the limit in `hit`, as SQL: which, how much it allows, and when it frees."""
    frees_at = _FREES_AT.format(buyer=buyer, address_key=address_key, at=at)
    return (
        "jsonb_build_object('code', 'limit_reached', 'limit', hit.name, 'most', hit.most, 'frees_at', " + frees_at + ")"
    )


COUNT = """counted AS (
        UPDATE limit_counters k SET live_checkouts = k.live_checkouts + 1, held_lines = k.held_lines + size.lines
        FROM mine, decision, size WHERE decision.held AND k.tenant_id = %(tenant)s AND k.subject = ANY (mine.subjects)
    )"""

# A cooldown follows an expiry only, never a cancel.
UNCOUNT = f"""
    WITH mine AS MATERIALIZED (
        SELECT {subjects_of("c")} AS subjects, (
            SELECT count(*) FROM checkout_lines l
            WHERE l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.status = 'held') AS lines
        FROM checkouts c WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
    ), locked AS MATERIALIZED (
        SELECT subject FROM limit_counters
        WHERE tenant_id = %(tenant)s AND subject = ANY (ARRAY(SELECT unnest(subjects) FROM mine))
        ORDER BY subject FOR UPDATE
    )
    UPDATE limit_counters k SET live_checkouts = k.live_checkouts - 1, held_lines = k.held_lines - mine.lines,
        cooldown_until = CASE
            WHEN %(becomes)s = 'expired' AND t.cooldown_seconds > 0 AND starts_with(k.subject, 'owner:')
            THEN %(at)s + make_interval(secs => t.cooldown_seconds) ELSE k.cooldown_until END
    FROM mine, locked, tenants t
    WHERE t.id = %(tenant)s AND k.tenant_id = %(tenant)s AND k.subject = locked.subject
"""
