"""Payments as we know them: started, in flight, made by hand, refunded in part, matching no checkout."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("payments", "payment_starts", "order_refunds", "manual_payments")

STATEMENTS = (
    # Every payment we have heard of, as we last heard of it. What became of it is in payment_outcomes. An event may
    # name a checkout that is not known (yet), so there is no foreign key to it. `closed_at`: after the hold's end the
    # gateway was asked, and the payment no longer keeps the stock from going back.
    """
    CREATE TABLE payments (
        tenant_id text NOT NULL REFERENCES tenants (id),
        gateway text NOT NULL,
        payment_id text NOT NULL,
        checkout_id uuid,
        status text NOT NULL CHECK (status IN ('created', 'processing', 'failed', 'captured', 'refunded', 'expired')),
        amount bigint NOT NULL CHECK (amount >= 0),
        currency text NOT NULL,
        known_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        closed_at timestamptz,
        PRIMARY KEY (tenant_id, gateway, payment_id)
    )
    """,
    "CREATE INDEX payments_of_checkout ON payments (checkout_id, tenant_id)",
    "CREATE INDEX payments_by_age ON payments (tenant_id, known_at)",
    # Stored before the gateway is asked to start a payment: the request's id makes its idempotency key there, and what
    # is asked with that key must stay the same, so `return_url` is kept. While `payment_id` is NULL nobody knows
    # whether the gateway has acted; `closed_at` as above.
    """
    CREATE TABLE payment_starts (
        tenant_id text NOT NULL,
        checkout_id uuid NOT NULL,
        request_id text NOT NULL,
        fingerprint text NOT NULL,
        gateway text NOT NULL,
        amount bigint NOT NULL CHECK (amount > 0),
        currency text NOT NULL,
        return_url text,
        requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        payment_id text,
        closed_at timestamptz,
        PRIMARY KEY (tenant_id, checkout_id, request_id),
        FOREIGN KEY (tenant_id, checkout_id) REFERENCES checkouts (tenant_id, id)
    )
    """,
    # How long after its end a hold waits for a payment that is in flight, as the tenant had it when the hold began.
    "ALTER TABLE tenants ADD COLUMN payment_grace_seconds integer NOT NULL DEFAULT 120",
    """
    ALTER TABLE tenants ADD CONSTRAINT tenants_payment_grace
        CHECK (payment_grace_seconds BETWEEN 0 AND 86400) NOT VALID
    """,
    "GRANT UPDATE (payment_grace_seconds) ON tenants TO holdfast_app",
    # `equivalent`: where the very seats are gone, as many others of the same zone will do.
    "ALTER TABLE tenants DROP CONSTRAINT tenants_late_payments",
    """
    ALTER TABLE tenants ADD CONSTRAINT tenants_late_payments
        CHECK (late_payments IN ('reserve', 'equivalent', 'refund')) NOT VALID
    """,
    "ALTER TABLE checkouts ADD COLUMN payment_grace_seconds integer NOT NULL DEFAULT 120",
    # Money of which no checkout is known has its outcome too: a refund.
    "ALTER TABLE payment_outcomes ALTER COLUMN checkout_id DROP NOT NULL",
    # Where an event went, and why it went nowhere yet.
    "ALTER TABLE payment_events ADD COLUMN handed text",
    "ALTER TABLE payment_events ADD COLUMN alerted_at timestamptz",
    # Whether the gateway's message names another tenant than the one whose account and address it came to.
    "ALTER TABLE payment_events ADD COLUMN foreign_tenant boolean NOT NULL DEFAULT false",
    # The operators' list, newest first, a page at a time.
    "CREATE INDEX payment_events_by_age ON payment_events (received_at, tenant_id, gateway, event_id)",
    # Refunds of an order, whole or in part: the order stands, its stock and its number stay. The order's own row is the
    # guard: its `refunded` never exceeds its total.
    "ALTER TABLE orders ADD COLUMN refunded bigint NOT NULL DEFAULT 0",
    """
    ALTER TABLE orders ADD CONSTRAINT orders_refunded_within_total
        CHECK (refunded >= 0 AND refunded <= total) NOT VALID
    """,
    """
    CREATE TABLE order_refunds (
        tenant_id text NOT NULL,
        id uuid NOT NULL,
        order_id uuid NOT NULL,
        gateway text NOT NULL,
        payment_id text NOT NULL,
        amount bigint NOT NULL CHECK (amount > 0),
        currency text NOT NULL,
        reason text NOT NULL,
        actor text NOT NULL,
        fingerprint text NOT NULL,
        status text NOT NULL DEFAULT 'intended' CHECK (status IN ('intended', 'refunded')),
        refund_id text,
        decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        refunded_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id)
    )
    """,
    "CREATE INDEX order_refunds_of_order ON order_refunds (order_id, tenant_id)",
    "CREATE INDEX order_refunds_open ON order_refunds (decided_at) WHERE status = 'intended'",
    # A payment that an operator has seen elsewhere (a bank transfer). `name`: what it is called there. A refund of it
    # is made by hand too.
    """
    CREATE TABLE manual_payments (
        tenant_id text NOT NULL REFERENCES tenants (id),
        payment_id text NOT NULL,
        checkout_id uuid NOT NULL,
        amount bigint NOT NULL CHECK (amount > 0),
        currency text NOT NULL,
        name text NOT NULL,
        reason text NOT NULL,
        actor text NOT NULL,
        fingerprint text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        refunded_amount bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant_id, payment_id),
        FOREIGN KEY (tenant_id, checkout_id) REFERENCES checkouts (tenant_id, id),
        CONSTRAINT manual_payments_refunded_within_amount
            CHECK (refunded_amount >= 0 AND refunded_amount <= amount)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    mine = "tenant_id = nullif(current_setting('app.tenant', true), '')"
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} TO holdfast_app USING ({mine}) WITH CHECK ({mine})")
        op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO holdfast_app")


def downgrade() -> None:
    # What the older tables cannot say is not thrown away unseen.
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM payment_outcomes WHERE checkout_id IS NULL)
               OR EXISTS (SELECT FROM order_refunds) OR EXISTS (SELECT FROM manual_payments) THEN
                RAISE EXCEPTION 'there are refunds or manual payments that the older tables cannot hold';
            END IF;
        END $$
    """)
    op.execute("ALTER TABLE payment_outcomes ALTER COLUMN checkout_id SET NOT NULL")
    op.execute("ALTER TABLE orders DROP COLUMN refunded")
    op.execute("DROP INDEX payment_events_by_age")
    op.execute("ALTER TABLE payment_events DROP COLUMN handed, DROP COLUMN alerted_at, DROP COLUMN foreign_tenant")
    op.execute("ALTER TABLE checkouts DROP COLUMN payment_grace_seconds")
    op.execute("ALTER TABLE tenants DROP COLUMN payment_grace_seconds, DROP CONSTRAINT tenants_late_payments")
    op.execute("UPDATE tenants SET late_payments = 'reserve' WHERE late_payments = 'equivalent'")
    op.execute(
        "ALTER TABLE tenants ADD CONSTRAINT tenants_late_payments CHECK (late_payments IN ('reserve', 'refund'))"
    )
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
