"""What a checkout went through, as its buyer is told; tenants' webhooks, and what is sent to them."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("checkout_events", "hook_endpoints", "hook_deliveries")

STATEMENTS = (
    # `seq` counts a checkout's events from 1 without gaps, in the order of their commits: it is given out under the
    # checkout's row lock. So whoever has read up to one of them has missed none, which no sequence could promise.
    # `data`: ids, amounts and states only. No foreign key: it would lock the checkout a second time.
    """
    CREATE TABLE checkout_events (
        tenant_id text NOT NULL,
        checkout_id uuid NOT NULL,
        seq integer NOT NULL CHECK (seq > 0),
        kind text NOT NULL,
        data jsonb NOT NULL,
        at timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, checkout_id, seq)
    )
    """,
    "CREATE INDEX checkout_events_by_age ON checkout_events USING brin (at)",
    # Where a tenant wants to be told. `secret`: what deliveries are signed with; `previous_secret`: the one before it,
    # which signs too until `previous_until`. Both are encrypted. `failing_since`: of the first failure after the last
    # success. A deleted endpoint stays for its deliveries, without its secrets.
    """
    CREATE TABLE hook_endpoints (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id uuid NOT NULL DEFAULT gen_random_uuid(),
        url text NOT NULL CHECK (length(url) <= 500),
        kinds text[] NOT NULL CHECK (cardinality(kinds) BETWEEN 1 AND 20),
        description text CHECK (length(description) <= 200),
        enabled boolean NOT NULL DEFAULT true,
        disabled_because text CHECK (disabled_because IN ('asked', 'failing', 'gone')),
        secret bytea,
        secret_key_id text,
        previous_secret bytea,
        previous_key_id text,
        previous_until timestamptz,
        failing_since timestamptz,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        deleted_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT hook_endpoints_disabled_has_a_reason CHECK (enabled = (disabled_because IS NULL)),
        CONSTRAINT hook_endpoints_has_a_secret CHECK (
            (secret IS NULL) = (deleted_at IS NOT NULL) AND (secret IS NULL) = (secret_key_id IS NULL)
            AND (previous_secret IS NULL) = (previous_key_id IS NULL)),
        CONSTRAINT hook_endpoints_deleted_is_disabled CHECK (deleted_at IS NULL OR NOT enabled)
    ) WITH (fillfactor = 70)
    """,
    # One message for one endpoint, written by the transaction that it tells of. `wake_at`: from when on the relay looks
    # at it again, to start a run of it; a run that tries puts it off. `replays`: how often it was asked for again.
    """
    CREATE TABLE hook_deliveries (
        tenant_id text NOT NULL,
        id uuid NOT NULL DEFAULT gen_random_uuid(),
        endpoint_id uuid NOT NULL,
        kind text NOT NULL,
        data jsonb NOT NULL,
        at timestamptz NOT NULL,
        status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
        replays integer NOT NULL DEFAULT 0,
        attempts integer NOT NULL DEFAULT 0,
        tried_at timestamptz,
        answer integer,
        error text CHECK (length(error) <= 200),
        wake_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY (tenant_id, endpoint_id) REFERENCES hook_endpoints (tenant_id, id),
        CONSTRAINT hook_deliveries_ended_has_a_time CHECK ((status = 'pending') = (ended_at IS NULL))
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX hook_deliveries_to_wake ON hook_deliveries (wake_at) WHERE status = 'pending'",
    "CREATE INDEX hook_deliveries_of_endpoint ON hook_deliveries (tenant_id, endpoint_id, at, id)",
    "CREATE INDEX hook_deliveries_failed ON hook_deliveries (tenant_id, endpoint_id, at, id) WHERE status = 'failed'",
    "CREATE INDEX hook_deliveries_by_age ON hook_deliveries USING brin (at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    mine = "tenant_id = nullif(current_setting('app.tenant', true), '')"
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} TO holdfast_app USING ({mine}) WITH CHECK ({mine})")
        op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO holdfast_app")
    op.execute("REVOKE UPDATE ON checkout_events FROM holdfast_app")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
