"""Lines that come and go while a checkout is held, and the metadata that comes with them."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("checkout_changes", "line_metadata")

STATEMENTS = (
    # What became of each request to change the lines, so that a repeat hears the same. `refusal` NULL: it was done.
    """
    CREATE TABLE checkout_changes (
        tenant_id text NOT NULL,
        checkout_id uuid NOT NULL,
        request_id text NOT NULL,
        fingerprint text NOT NULL,
        refusal jsonb,
        changed_at timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, checkout_id, request_id),
        FOREIGN KEY (tenant_id, checkout_id) REFERENCES checkouts (tenant_id, id)
    )
    """,
    # Metadata does not travel through the workflow: it waits here, by its request's fingerprint, for the statement that
    # holds the lines. `metadata`: an object, from a line's place in the request (1, 2, …) to what came with that line.
    # No foreign key: a start stores it before there is a checkout.
    """
    CREATE TABLE line_metadata (
        tenant_id text NOT NULL REFERENCES tenants (id),
        checkout_id uuid NOT NULL,
        fingerprint text NOT NULL,
        metadata json NOT NULL CHECK (octet_length(metadata::text) <= 262144),
        stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, checkout_id, fingerprint)
    )
    """,
    "CREATE INDEX line_metadata_by_age ON line_metadata (stored_at)",
    # A line taken out of a live hold; its status is `released` as well.
    "ALTER TABLE checkout_lines ADD COLUMN removed_at timestamptz",
    """
    ALTER TABLE checkout_lines ADD CONSTRAINT checkout_lines_removed_is_released
        CHECK (removed_at IS NULL OR status = 'released') NOT VALID
    """,
    # As the tenant had it when the hold began: a changed setting never alters a running hold.
    "ALTER TABLE checkouts ADD COLUMN auto_extend boolean NOT NULL DEFAULT true",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    mine = "tenant_id = nullif(current_setting('app.tenant', true), '')"
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} TO holdfast_app USING ({mine}) WITH CHECK ({mine})")
        op.execute(f"GRANT SELECT, INSERT ON {table} TO holdfast_app")


def downgrade() -> None:
    op.execute("ALTER TABLE checkouts DROP COLUMN auto_extend")
    op.execute("ALTER TABLE checkout_lines DROP COLUMN removed_at")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
