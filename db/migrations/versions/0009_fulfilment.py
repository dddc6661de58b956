"""Fulfilment: where to write to a buyer, what was done for each order, tickets, statistics, and how a shop looks."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = (
    "checkout_contacts",
    "fulfilment_steps",
    "order_documents",
    "refund_notices",
    "daily_sales",
    "daily_item_sales",
)

STATEMENTS = (
    # The only personal data about an order. Deleted by the hourly purge when it is old.
    """
    CREATE TABLE checkout_contacts (
        tenant_id text NOT NULL,
        checkout_id uuid NOT NULL,
        email text CHECK (length(email) <= 254),
        phone text CHECK (phone ~ '^\\+[1-9][0-9]{6,14}$'),
        name text CHECK (length(name) <= 120),
        language text CHECK (language IN ('es', 'en')),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, checkout_id),
        FOREIGN KEY (tenant_id, checkout_id) REFERENCES checkouts (tenant_id, id)
    )
    """,
    "CREATE INDEX checkout_contacts_by_age ON checkout_contacts (updated_at)",
    # What each step of an order's fulfilment came to. `replay` 0: the first time; each time it is asked for again has
    # the next number, and what it sends out is named by order, step and replay. `reason`: why it was skipped or failed;
    # `last_error`: why the latest attempt failed. Neither has personal data, nor has `detail`.
    """
    CREATE TABLE fulfilment_steps (
        tenant_id text NOT NULL,
        order_id uuid NOT NULL,
        step text NOT NULL CHECK (step IN ('pdf', 'mail', 'tickets', 'notify', 'statistics')),
        replay integer NOT NULL DEFAULT 0 CHECK (replay >= 0),
        request_id text,
        status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'skipped', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        reason text CHECK (length(reason) <= 200),
        last_error text CHECK (length(last_error) <= 500),
        detail jsonb NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        PRIMARY KEY (tenant_id, order_id, step, replay),
        FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id),
        CONSTRAINT fulfilment_steps_ended_has_a_time CHECK ((status = 'pending') = (ended_at IS NULL))
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE UNIQUE INDEX fulfilment_steps_request ON fulfilment_steps (order_id, tenant_id, step, request_id)
        WHERE request_id IS NOT NULL
    """,
    "CREATE INDEX fulfilment_steps_replays ON fulfilment_steps (created_at) WHERE status = 'pending' AND replay > 0",
    # Rendered once and kept.
    """
    CREATE TABLE order_documents (
        tenant_id text NOT NULL,
        order_id uuid NOT NULL,
        kind text NOT NULL CHECK (kind = 'tickets'),
        content bytea NOT NULL CHECK (octet_length(content) <= 67108864),
        pages integer NOT NULL CHECK (pages > 0),
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, order_id, kind),
        FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id)
    )
    """,
    "ALTER TABLE order_documents ALTER COLUMN content SET STORAGE EXTERNAL",  # A PDF is compressed already.
    # Whether the buyer was told of a refund. No foreign key: a payment may match nothing else.
    """
    CREATE TABLE refund_notices (
        tenant_id text NOT NULL REFERENCES tenants (id),
        gateway text NOT NULL,
        payment_id text NOT NULL,
        status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'skipped', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        reason text CHECK (length(reason) <= 200),
        last_error text CHECK (length(last_error) <= 500),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        PRIMARY KEY (tenant_id, gateway, payment_id),
        CONSTRAINT refund_notices_ended_has_a_time CHECK ((status = 'pending') = (ended_at IS NULL))
    )
    """,
    # What was sold on a day (UTC, when the order was made), in minor units. What was given back is not taken off.
    """
    CREATE TABLE daily_sales (
        tenant_id text NOT NULL REFERENCES tenants (id),
        day date NOT NULL,
        currency text NOT NULL,
        orders bigint NOT NULL,
        units bigint NOT NULL,
        revenue bigint NOT NULL,
        PRIMARY KEY (tenant_id, day, currency)
    ) WITH (fillfactor = 50)
    """,
    # `item_id`: a product's id, or the id of the zone that a ticket is for.
    """
    CREATE TABLE daily_item_sales (
        tenant_id text NOT NULL REFERENCES tenants (id),
        day date NOT NULL,
        currency text NOT NULL,
        kind text NOT NULL CHECK (kind IN ('product', 'zone')),
        item_id bigint NOT NULL,
        units bigint NOT NULL,
        revenue bigint NOT NULL,
        PRIMARY KEY (tenant_id, day, currency, kind, item_id)
    ) WITH (fillfactor = 50)
    """,
    # Orders made before this are taken for fulfilled: nobody is sent tickets for what he had long ago. Adding the
    # column with a default and dropping it marks them without rewriting the table.
    "ALTER TABLE orders ADD COLUMN fulfilled_at timestamptz DEFAULT '1970-01-01 00:00:00+00'",
    "ALTER TABLE orders ALTER COLUMN fulfilled_at DROP DEFAULT",
    "ALTER TABLE orders ADD COLUMN counted_at timestamptz DEFAULT '1970-01-01 00:00:00+00'",
    "ALTER TABLE orders ALTER COLUMN counted_at DROP DEFAULT",
    "CREATE INDEX orders_unfulfilled ON orders (created_at) WHERE fulfilled_at IS NULL",
    """
    ALTER TABLE tenants
        ADD COLUMN language text NOT NULL DEFAULT 'es',
        ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
        ADD COLUMN brand_color text NOT NULL DEFAULT '#1f3a5f',
        ADD COLUMN logo_text text
    """,
    """
    ALTER TABLE tenants
        ADD CONSTRAINT tenants_language CHECK (language IN ('es', 'en')) NOT VALID,
        ADD CONSTRAINT tenants_time_zone CHECK (length(time_zone) BETWEEN 1 AND 64) NOT VALID,
        ADD CONSTRAINT tenants_brand_color CHECK (brand_color ~ '^#[0-9a-f]{6}$') NOT VALID,
        ADD CONSTRAINT tenants_logo_text CHECK (length(logo_text) BETWEEN 1 AND 40) NOT VALID
    """,
    "GRANT UPDATE (language, time_zone, brand_color, logo_text) ON tenants TO holdfast_app",
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
    looks = ("language", "time_zone", "brand_color", "logo_text")
    op.execute(f"ALTER TABLE tenants {', '.join(f'DROP COLUMN {column}' for column in looks)}")
    op.execute("ALTER TABLE orders DROP COLUMN fulfilled_at, DROP COLUMN counted_at")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
