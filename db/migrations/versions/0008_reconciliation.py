"""Reconciliation: what was compared with the gateways' ledgers, and where they disagree with ours."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = ("reconciliation_runs", "reconciliation_findings")

STATEMENTS = (
    # One comparison of a tenant's payments at one gateway, made there from `since` to `until`; up to `reached` it is
    # done, so that a run that died goes on from there. `continues`: it leaves no gap after the runs before it, so the
    # next one may begin at its `until`. `error`: why it could not be made, then the next one begins where it did.
    """
    CREATE TABLE reconciliation_runs (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id uuid NOT NULL,
        gateway text NOT NULL,
        actor text NOT NULL,
        since timestamptz NOT NULL,
        until timestamptz NOT NULL,
        reached timestamptz NOT NULL,
        continues boolean NOT NULL,
        compared integer NOT NULL DEFAULT 0,
        agreed integer NOT NULL DEFAULT 0,
        too_young integer NOT NULL DEFAULT 0,
        noted integer NOT NULL DEFAULT 0,
        repaired integer NOT NULL DEFAULT 0,
        flagged integer NOT NULL DEFAULT 0,
        error text,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        CHECK (since <= reached AND reached <= until)
    )
    """,
    "CREATE INDEX reconciliation_runs_by_age ON reconciliation_runs (tenant_id, started_at)",
    "CREATE INDEX reconciliation_runs_of_gateway ON reconciliation_runs (tenant_id, gateway, until)",
    # A disagreement about one payment. `detail`: ids, amounts and states only. `repaired_at`: a repair was begun;
    # `flagged_at`: people should look. Resolved by agreement, or by a person (`resolved_by`, `note`); what a person
    # has accepted stays so as long as it is seen with the same detail.
    """
    CREATE TABLE reconciliation_findings (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id uuid NOT NULL DEFAULT gen_random_uuid(),
        gateway text NOT NULL,
        payment_id text NOT NULL,
        kind text NOT NULL,
        checkout_id uuid,
        detail jsonb NOT NULL,
        first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
        repaired_at timestamptz,
        flagged_at timestamptz,
        resolved_at timestamptz,
        resolution text CHECK (resolution IN ('agreed', 'accepted')),
        resolved_by text,
        note text,
        PRIMARY KEY (tenant_id, id),
        CHECK ((resolved_at IS NULL) = (resolution IS NULL)),
        CHECK ((resolution = 'accepted') IS NOT TRUE OR (resolved_by IS NOT NULL AND note IS NOT NULL))
    )
    """,
    """
    CREATE UNIQUE INDEX reconciliation_findings_open
        ON reconciliation_findings (tenant_id, gateway, payment_id, kind) WHERE resolved_at IS NULL
    """,
    "CREATE INDEX reconciliation_findings_of_payment ON reconciliation_findings (payment_id, gateway, tenant_id)",
    "CREATE INDEX reconciliation_findings_by_age ON reconciliation_findings (tenant_id, last_seen)",
    # When an outcome was first held against the gateway's ledger: those that never were are asked for one by one.
    "ALTER TABLE payment_outcomes ADD COLUMN compared_at timestamptz",
    """
    CREATE INDEX payment_outcomes_uncompared ON payment_outcomes (tenant_id, gateway, decided_at)
        WHERE compared_at IS NULL
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
    op.execute("ALTER TABLE payment_outcomes DROP COLUMN compared_at")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
