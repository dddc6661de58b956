"""Carts, the audit log, anonymous sessions, logins and revocations."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("carts", "cart_lines", "audit_log", "sessions", "logins", "refresh_tokens", "revocations")

STATEMENTS = (
    # One cart for each owner. `checkout_id`: the live hold that was started from it; an administrator may also set
    # `processing` by hand, and then there is none. No foreign key: it would lock that checkout after the cart, against
    # the global order, when a cart passes from one hold to another. The invariant checker looks instead.
    """
    CREATE TABLE carts (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id uuid NOT NULL DEFAULT gen_random_uuid(),
        owner_key text NOT NULL CHECK (length(owner_key) <= 200),
        status text NOT NULL DEFAULT 'available' CHECK (status IN ('available', 'processing')),
        checkout_id uuid,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT carts_held_is_processing CHECK (checkout_id IS NULL OR status = 'processing')
    ) WITH (fillfactor = 70)
    """,
    "CREATE UNIQUE INDEX carts_owner_key ON carts (owner_key, tenant_id)",
    # Ids and quantities only. No key to products: a line may outlive its product until the next read tells the owner.
    """
    CREATE TABLE cart_lines (
        tenant_id text NOT NULL,
        cart_id uuid NOT NULL,
        product_id bigint NOT NULL,
        quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 10000),
        added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, cart_id, product_id),
        FOREIGN KEY (tenant_id, cart_id) REFERENCES carts (tenant_id, id)
    ) WITH (fillfactor = 70)
    """,
    # Who did what to which thing. Ids only, never an e-mail: `actor` is a buyer key (`user:…`, `session:…`,
    # `service:…`), `cli:<name>` or `system:<name>`.
    """
    CREATE TABLE audit_log (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id bigint GENERATED ALWAYS AS IDENTITY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor text NOT NULL,
        action text NOT NULL,
        subject text NOT NULL,
        before jsonb,
        after jsonb,
        PRIMARY KEY (tenant_id, id)
    )
    """,
    "CREATE INDEX audit_log_of_subject ON audit_log (subject, tenant_id, id)",
    "CREATE INDEX audit_log_of_actor ON audit_log (actor, tenant_id, id)",
    "CREATE INDEX audit_log_by_time ON audit_log (at, tenant_id)",
    # Anonymous buyers. `user_key`: whom the session's cart and holds went to when its buyer logged in.
    """
    CREATE TABLE sessions (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id text NOT NULL CHECK (id ~ '^[A-Za-z0-9_-]{1,40}$'),
        user_key text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL,
        adopted_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT sessions_adopted_by_somebody CHECK ((user_key IS NULL) = (adopted_at IS NULL))
    )
    """,
    "CREATE INDEX sessions_over ON sessions (expires_at)",
    # A login is the family of the refresh tokens that follow from it. `session_id`: the session it took over.
    # `tokens_until`: when the last of its access tokens is over, and so how long its revocation is needed.
    """
    CREATE TABLE logins (
        tenant_id text NOT NULL,
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        session_id text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL,
        tokens_until timestamptz NOT NULL,
        revoked_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
    )
    """,
    "CREATE INDEX logins_of_user ON logins (user_id, tenant_id)",
    "CREATE INDEX logins_over ON logins (expires_at)",
    """
    CREATE TABLE refresh_tokens (
        tenant_id text NOT NULL,
        hash bytea NOT NULL CHECK (length(hash) = 32),
        login_id uuid NOT NULL,
        issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL,
        used_at timestamptz,
        PRIMARY KEY (tenant_id, hash),
        FOREIGN KEY (tenant_id, login_id) REFERENCES logins (tenant_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX refresh_tokens_of_login ON refresh_tokens (login_id, tenant_id)",
    "CREATE INDEX refresh_tokens_over ON refresh_tokens (expires_at)",
    # Access tokens that are refused before their time: by their own id (jti), or by their login's or session's (sid).
    """
    CREATE TABLE revocations (
        tenant_id text NOT NULL REFERENCES tenants (id),
        id text NOT NULL CHECK (length(id) <= 128),
        reason text NOT NULL,
        revoked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, id)
    )
    """,
    "CREATE INDEX revocations_newest ON revocations (revoked_at, tenant_id)",
    "CREATE INDEX revocations_over ON revocations (expires_at)",
    # Which cart a checkout was started from: its end frees that cart.
    "ALTER TABLE checkouts ADD COLUMN cart_id uuid",
    "CREATE INDEX checkouts_of_cart ON checkouts (cart_id, tenant_id) WHERE cart_id IS NOT NULL AND status = 'held'",
    # Looked up by a plain column: under row-level security an index on lower(email) is not used, as lower() is not
    # leakproof, and each login would read all of the tenant's users.
    """
    ALTER TABLE users
        ADD COLUMN username_key text GENERATED ALWAYS AS (lower(username)) STORED,
        ADD COLUMN email_key text GENERATED ALWAYS AS (lower(email)) STORED
    """,
    "DROP INDEX users_username_key",
    "DROP INDEX users_email_key",
    "CREATE UNIQUE INDEX users_username_key ON users (username_key, tenant_id)",
    "CREATE UNIQUE INDEX users_email_key ON users (email_key, tenant_id)",
    "ALTER TABLE products ADD COLUMN one_per_cart boolean NOT NULL DEFAULT false",
    # The highest id of a deleted product: the next free number is past it, because orders and carts still name it.
    "ALTER TABLE tenants ADD COLUMN last_product_id bigint NOT NULL DEFAULT 0",
)

GRANTS = (
    *(f"GRANT SELECT, INSERT, UPDATE ON {table} TO holdfast_app" for table in TABLES if table != "audit_log"),
    # What was done stays written.
    "GRANT SELECT, INSERT ON audit_log TO holdfast_app",
    "GRANT DELETE ON carts, cart_lines, products TO holdfast_app",
    "GRANT UPDATE (last_product_id) ON tenants TO holdfast_app",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        mine = "tenant_id = nullif(current_setting('app.tenant', true), '')"
        op.execute(f"CREATE POLICY tenant_isolation ON {table} TO holdfast_app USING ({mine}) WITH CHECK ({mine})")
    for grant in GRANTS:
        op.execute(grant)


def downgrade() -> None:
    op.execute("REVOKE DELETE ON products FROM holdfast_app")
    op.execute("ALTER TABLE tenants DROP COLUMN last_product_id")
    op.execute("ALTER TABLE users DROP COLUMN username_key, DROP COLUMN email_key")
    op.execute("CREATE UNIQUE INDEX users_username_key ON users (tenant_id, lower(username))")
    op.execute("CREATE UNIQUE INDEX users_email_key ON users (tenant_id, lower(email))")
    op.execute("ALTER TABLE products DROP COLUMN one_per_cart")
    op.execute("ALTER TABLE checkouts DROP COLUMN cart_id")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
