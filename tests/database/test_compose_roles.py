"""The roles that docker-compose.yml makes, tried on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import yaml

from db import migrate
from tests.support import servers

ROOT = Path(__file__).parents[2]
PASSWORDS = ("HOLDFAST_DB_ADMIN_PASSWORD", "HOLDFAST_DB_PASSWORD", "TEMPORAL_DB_PASSWORD")


def test_the_migrations_run_as_the_owner_and_the_service_role_owns_nothing(server_folder: Path) -> None:
    script = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["configs"]["roles"]["content"]
    for name in PASSWORDS:
        script = script.replace(f"${{{name}}}", name.lower())
    server = servers.private_postgres(server_folder)
    server.start()
    try:
        with psycopg.connect(server.superuser_url(), autocommit=True) as superuser:
            superuser.execute("DROP DATABASE holdfast")
            superuser.execute("DROP ROLE holdfast")  # The launcher's own; the container starts without.
            for statement in filter(str.strip, script.split(";")):
                superuser.execute(statement)
        at = f"127.0.0.1:{server.port}/holdfast"
        migrate.upgrade(f"postgresql://holdfast:holdfast_db_admin_password@{at}")
        service = f"postgresql://holdfast_service:holdfast_db_password@{at}?options=-c%20role%3Dholdfast_app"
        with psycopg.connect(service) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("holdfast_app",)
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE mine (id int)")
    finally:
        server.stop()
