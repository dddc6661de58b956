"""Where PostgreSQL keeps its files when we are root, and what earlier, killed runs may leave in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from local import folders
from local.errors import LocalError
from local.postgres import Postgres
from local.postgres_orphan import clear_earlier_server
from local.processes import is_running
from local.system_user import can_read
from tests.support import servers

IS_ROOT = os.geteuid() == 0


def test_a_private_folder_keeps_its_rights_and_the_database_goes_where_its_user_can_reach(server_folder: Path) -> None:
    private = server_folder / "private"
    private.mkdir(mode=0o700)
    folder, user = folders.database_folder(private / "data", shared=server_folder / "shared")
    if IS_ROOT:
        assert folder.parent == server_folder / "shared"
        assert user is not None
        assert folder.stat().st_uid == user.uid
    else:
        assert folder == private / "data" / "postgres"
        assert user is None
    assert private.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folders.database_folder(private / "data", shared=server_folder / "shared") == (folder, user)


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
def test_when_no_folder_can_be_reached_the_setting_to_change_is_named(server_folder: Path) -> None:
    private = server_folder / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(LocalError, match="HOLDFAST_DATA_DIR"):
        folders.database_folder(private / "data", shared=private / "shared")


def test_programs_that_the_database_user_cannot_reach_are_copied(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers.private_postgres(server_folder)
    reachable = can_read
    monkeypatch.setattr(
        "local.postgres_binaries.can_read",
        lambda user, path: "site-packages" not in str(path) and reachable(user, path),
    )
    server.start()
    try:
        assert str(server_folder) in Path(f"/proc/{server.pid}/exe").readlink().as_posix()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()


def test_a_server_that_a_killed_run_left_is_stopped_in_order_and_its_data_is_there(server_folder: Path) -> None:
    first = servers.private_postgres(server_folder)
    first.start()
    pid = first.pid
    with psycopg.connect(first.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    second = Postgres(server_folder, first.port, first.log)
    try:
        second.start()
        assert not is_running(pid)
        with psycopg.connect(second.url()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
        assert "database system was shut down" in first.log.read_text()
    finally:
        second.stop()
        first.stop()


def test_a_stranger_who_got_the_old_servers_number_is_left_alone_and_does_not_stop_the_start(
    server_folder: Path,
) -> None:
    server = servers.private_postgres(server_folder)
    server.start()
    server.kill()
    data = folders.database_folder(server_folder)[0] / "data"
    pid_file = data / "postmaster.pid"
    owner = data.stat()
    with subprocess.Popen(["/bin/sleep", "60"], user=owner.st_uid if IS_ROOT else None, cwd="/") as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *pid_file.read_text().splitlines()[1:]]) + "\n")
        try:
            server.start()
            assert stranger.poll() is None
        finally:
            server.stop()
            stranger.kill()


def test_the_pid_file_of_a_process_that_is_gone_is_left_to_postgres(server_folder: Path) -> None:
    (server_folder / "postmaster.pid").write_text("999999999\n")
    clear_earlier_server(server_folder)
    assert (server_folder / "postmaster.pid").exists()
