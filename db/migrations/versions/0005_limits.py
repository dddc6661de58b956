"""Limits on what one buyer or address may hold: counter rows."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    # `subject`: `owner:<buyer key>`, or `address:<keyed hash>` where a tenant limits addresses. The counts are of held
    # checkouts and of their held lines; changed in the transactions that hold and settle, under the row's lock.
    """
    CREATE TABLE limit_counters (
        tenant_id text NOT NULL REFERENCES tenants (id),
        subject text NOT NULL,
        live_checkouts integer NOT NULL DEFAULT 0 CHECK (live_checkouts >= 0),
        held_lines integer NOT NULL DEFAULT 0 CHECK (held_lines >= 0),
        cooldown_until timestamptz,
        PRIMARY KEY (tenant_id, subject)
    ) WITH (fillfactor = 50)
    """,
    "ALTER TABLE checkouts ADD COLUMN address_key text",
    """
    CREATE INDEX checkouts_live_of_address ON checkouts (address_key, tenant_id, expires_at)
        WHERE status = 'held' AND address_key IS NOT NULL
    """,
    # The holds of now. A service sells for all of a storefront's buyers, and is no owner whose holds are limited.
    """
    INSERT INTO limit_counters (tenant_id, subject, live_checkouts, held_lines)
    SELECT c.tenant_id, 'owner:' || c.buyer_key, count(DISTINCT c.id), count(l.id)
    FROM checkouts c JOIN checkout_lines l ON l.tenant_id = c.tenant_id AND l.checkout_id = c.id AND l.status = 'held'
    WHERE c.status = 'held' AND c.buyer_key NOT LIKE 'service:%'
    GROUP BY c.tenant_id, c.buyer_key
    """,
    "ALTER TABLE limit_counters ENABLE ROW LEVEL SECURITY",
    """
    CREATE POLICY tenant_isolation ON limit_counters TO holdfast_app
        USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
        WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''))
    """,
    "GRANT SELECT, INSERT, UPDATE ON limit_counters TO holdfast_app",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE checkouts DROP COLUMN address_key")
    op.execute("DROP TABLE limit_counters")
