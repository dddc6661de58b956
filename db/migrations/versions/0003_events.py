"""Events with numbered and general-admission zones, on the same stock items as products."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("events", "zones", "seats")

STATEMENTS = (
    """
    CREATE TABLE events (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id bigint NOT NULL,
        name text NOT NULL,
        description text NOT NULL DEFAULT '',
        venue text NOT NULL DEFAULT '',
        starts_at timestamptz,
        available boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, id)
    )
    """,
    # A general-admission zone is one stock item with a capacity; a numbered one has none of its own, but seats.
    """
    CREATE TABLE zones (
        tenant_id text NOT NULL,
        id bigint NOT NULL,
        event_id bigint NOT NULL,
        name text NOT NULL,
        kind text NOT NULL CHECK (kind IN ('numbered', 'general')),
        price bigint NOT NULL CHECK (price BETWEEN 0 AND 1000000000000),
        offer_price bigint,
        available boolean NOT NULL DEFAULT true,
        stock_item_id bigint,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, id),
        UNIQUE (tenant_id, stock_item_id),
        FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id),
        FOREIGN KEY (tenant_id, stock_item_id) REFERENCES stock_items (tenant_id, id),
        CONSTRAINT zones_general_has_a_capacity CHECK ((kind = 'general') = (stock_item_id IS NOT NULL)),
        CONSTRAINT zones_offer_below_price CHECK (offer_price > 0 AND offer_price < price)
    )
    """,
    "CREATE INDEX zones_of_event ON zones (event_id, tenant_id, id)",
    # `rank` orders a zone's rows, best first; two seats of a row are neighbours when their numbers follow each other.
    # A seat that is blocked has a stock item whose total is 0.
    """
    CREATE TABLE seats (
        tenant_id text NOT NULL,
        id bigint NOT NULL,
        zone_id bigint NOT NULL,
        row_name text NOT NULL,
        rank integer NOT NULL,
        number integer NOT NULL,
        stock_item_id bigint NOT NULL,
        PRIMARY KEY (tenant_id, id),
        UNIQUE (tenant_id, stock_item_id),
        FOREIGN KEY (tenant_id, zone_id) REFERENCES zones (tenant_id, id),
        FOREIGN KEY (tenant_id, stock_item_id) REFERENCES stock_items (tenant_id, id)
    )
    """,
    "CREATE UNIQUE INDEX seats_of_zone ON seats (zone_id, tenant_id, rank, number)",
    # The free seats of a zone are counted by an index of their own. By a generated column, because an index whose
    # condition named `reserved` would cost every product's update its place in the page (HOT): this stays NULL there.
    "ALTER TABLE stock_items ADD COLUMN zone_id bigint",
    """
    ALTER TABLE stock_items ADD COLUMN free_in_zone bigint GENERATED ALWAYS AS (
        CASE WHEN kind = 'seat' AND total = 1 AND reserved = 0 AND sold = 0 THEN zone_id END) STORED
    """,
    "CREATE INDEX stock_items_free_seats ON stock_items (free_in_zone, tenant_id, id) WHERE free_in_zone IS NOT NULL",
    # json, not jsonb: kept as it was written. In jsonb the seven characters of 1e+300 become three hundred.
    "ALTER TABLE checkout_lines ADD COLUMN zone_id bigint, ADD COLUMN seat_id bigint, ADD COLUMN metadata json",
    """
    ALTER TABLE checkout_lines ADD CONSTRAINT checkout_lines_metadata_small
        CHECK (octet_length(metadata::text) <= 4096) NOT VALID
    """,
    # Seats whose hold is over and not settled yet are free to whoever looks.
    """
    CREATE INDEX checkout_lines_open_seats ON checkout_lines (zone_id, tenant_id, expires_at)
        WHERE status = 'held' AND seat_id IS NOT NULL
    """,
    "ALTER TABLE order_lines ADD COLUMN zone_id bigint, ADD COLUMN seat_id bigint, ADD COLUMN metadata json",
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
    op.execute("ALTER TABLE order_lines DROP COLUMN metadata, DROP COLUMN seat_id, DROP COLUMN zone_id")
    op.execute("ALTER TABLE checkout_lines DROP COLUMN metadata, DROP COLUMN seat_id, DROP COLUMN zone_id")
    op.execute("ALTER TABLE stock_items DROP COLUMN free_in_zone, DROP COLUMN zone_id")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
