"""Migrations, up and down. Run by the role that owns the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, pool, text

DDL_LOCK_TIMEOUT = "3s"
"""A migration that cannot have its lock gives up instead of queueing every buyer behind it."""
_ONE_AT_A_TIME = 7_016_534_001
"""Advisory lock: two deployments that migrate at once take turns."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate up to `revision`."""
    with _connected(url) as (connection, config):
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate down to `revision` (`base` removes everything)."""
    with _connected(url) as (connection, config):
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def status(url: str) -> list[str]:
    """One line a migration, oldest first: `applied` or `pending`, its id and what it does."""
    with _connected(url) as (connection, config):
        script = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        applied = {step.revision for step in script.iterate_revisions(current, "base")} if current else set()
        steps = reversed(list(script.walk_revisions()))
        return [f"{'applied' if s.revision in applied else 'pending'}  {s.revision}  {s.doc}" for s in steps]


@contextmanager
def _connected(url: str) -> Iterator[tuple[Connection, Config]]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(_sqlalchemy_url(url), poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_ONE_AT_A_TIME})"))
            connection.execute(text(f"SET lock_timeout = '{DDL_LOCK_TIMEOUT}'"))
            connection.commit()
            yield connection, config
    finally:
        engine.dispose()


def _sqlalchemy_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ValueError("the database URL must start with postgresql://")
    return f"postgresql+psycopg://{rest}"
