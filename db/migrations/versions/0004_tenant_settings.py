"""Settings of tenants, and their secrets, encrypted."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Beside hold_seconds, extension_seconds, maximum_seconds and currency, on the row that each reserve reads anyway. NULL
# in a limit: there is none. Every one of these has its rule in domain/tenant_settings.py too, which says it in words.
_COLUMNS = """
    ALTER TABLE tenants
        ADD COLUMN disabled boolean NOT NULL DEFAULT false,
        ADD COLUMN warning_seconds integer NOT NULL DEFAULT 120,
        ADD COLUMN auto_extend boolean NOT NULL DEFAULT true,
        ADD COLUMN max_lines integer NOT NULL DEFAULT 100,
        ADD COLUMN max_held_lines integer NOT NULL DEFAULT 50,
        ADD COLUMN max_checkouts_per_owner integer,
        ADD COLUMN max_checkouts_per_address integer,
        ADD COLUMN cooldown_seconds integer NOT NULL DEFAULT 0,
        ADD COLUMN late_payments text NOT NULL DEFAULT 'reserve',
        ADD COLUMN tax_classes jsonb NOT NULL DEFAULT '[]',
        ADD COLUMN whatsapp_number text,
        ADD CONSTRAINT tenants_warning_seconds CHECK (warning_seconds BETWEEN 0 AND 86400),
        ADD CONSTRAINT tenants_max_lines CHECK (max_lines BETWEEN 1 AND 100),
        ADD CONSTRAINT tenants_max_held_lines CHECK (max_held_lines BETWEEN 1 AND 10000),
        ADD CONSTRAINT tenants_max_checkouts_per_owner CHECK (max_checkouts_per_owner BETWEEN 1 AND 10000),
        ADD CONSTRAINT tenants_max_checkouts_per_address CHECK (max_checkouts_per_address BETWEEN 1 AND 10000),
        ADD CONSTRAINT tenants_cooldown_seconds CHECK (cooldown_seconds BETWEEN 0 AND 86400),
        ADD CONSTRAINT tenants_late_payments CHECK (late_payments IN ('reserve', 'refund')),
        ADD CONSTRAINT tenants_tax_classes
            CHECK (jsonb_typeof(tax_classes) = 'array' AND octet_length(tax_classes::text) <= 16384),
        ADD CONSTRAINT tenants_whatsapp_number CHECK (whatsapp_number ~ '^\\+[1-9][0-9]{6,14}$')
"""

# `ciphertext` holds the nonce too; it decrypts only with this row's tenant and name (AES-GCM's associated data).
_SECRETS = """
    CREATE TABLE tenant_secrets (
        tenant_id text NOT NULL REFERENCES tenants (id),
        name text NOT NULL
            CHECK (name ~ '^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$' AND length(name) <= 80),
        ciphertext bytea NOT NULL CHECK (octet_length(ciphertext) <= 16384),
        key_id text NOT NULL CHECK (key_id ~ '^[A-Za-z0-9_.-]{1,32}$'),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, name)
    )
"""

# What a tenant's own administrator may change. Not its id, and not whether it is disabled: that is the installation's.
CHANGEABLE = (
    "name",
    "currency",
    "hold_seconds",
    "extension_seconds",
    "maximum_seconds",
    "warning_seconds",
    "auto_extend",
    "max_lines",
    "max_held_lines",
    "max_checkouts_per_owner",
    "max_checkouts_per_address",
    "cooldown_seconds",
    "late_payments",
    "tax_classes",
    "whatsapp_number",
)


def upgrade() -> None:
    op.execute(_COLUMNS)
    op.execute(f"GRANT UPDATE ({', '.join(CHANGEABLE)}) ON tenants TO holdfast_app")
    op.execute(_SECRETS)
    mine = "tenant_id = nullif(current_setting('app.tenant', true), '')"
    op.execute("ALTER TABLE tenant_secrets ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON tenant_secrets TO holdfast_app USING ({mine}) WITH CHECK ({mine})")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_secrets TO holdfast_app")


def downgrade() -> None:
    op.execute("DROP TABLE tenant_secrets")
    old, added = CHANGEABLE[:5], ("disabled", *CHANGEABLE[5:])
    op.execute(f"REVOKE UPDATE ({', '.join(old)}) ON tenants FROM holdfast_app")
    op.execute(f"ALTER TABLE tenants {', '.join(f'DROP COLUMN {column}' for column in added)}")
