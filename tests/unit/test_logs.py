"""Where log lines go: standard output, and files of their own for the logs auth and security."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog import stdlib

from api import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    logs.configure("json")
    structlog.reset_defaults()


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_without_a_folder_all_lines_go_to_standard_output_and_two_logs_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json")
    for name in ("api", "auth", "security"):
        stdlib.get_logger(name).info("happened", user="7")
    lines = lines_of(capsys.readouterr().out)
    assert [line.get("log") for line in lines] == [None, "auth", "security"]
    assert all(line["event"] == "happened" and line["level"] == "info" and line["timestamp"] for line in lines)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_with_a_folder_each_has_a_file_of_json_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log_format: Any
) -> None:
    folder = tmp_path / "logs" / "holdfast"
    logs.configure(log_format, folder=folder)
    stdlib.get_logger("auth").info("login", user="7", text="ñ\nsecond line")
    stdlib.get_logger("security").warning("limit_hit")
    stdlib.get_logger("api").info("request")
    [login] = lines_of((folder / "auth.log").read_text())
    [hit] = lines_of((folder / "security.log").read_text())
    assert (login["event"], login["user"], login["text"], login["log"]) == ("login", "7", "ñ\nsecond line", "auth")
    assert (hit["event"], hit["level"], hit["log"]) == ("limit_hit", "warning", "security")
    out = capsys.readouterr().out
    assert "request" in out
    assert "login" not in out


def test_only_we_may_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        logs.configure("json", folder=tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    for name in logs.OWN_FILES:
        assert (tmp_path / "new" / f"{name}.log").stat().st_mode & 0o777 == 0o600


def test_lines_are_appended_and_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    logs.configure("json", folder=tmp_path)
    stdlib.get_logger("auth").info("first")
    logs.configure("json", folder=tmp_path)
    stdlib.get_logger("auth").info("second")
    (tmp_path / "auth.log").rename(tmp_path / "auth.log.1")
    stdlib.get_logger("auth").info("third")
    assert [line["event"] for line in lines_of((tmp_path / "auth.log.1").read_text())] == ["first", "second"]
    assert [line["event"] for line in lines_of((tmp_path / "auth.log").read_text())] == ["third"]
    assert (tmp_path / "auth.log").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_is_told_of_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "auth.log").mkdir()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        with pytest.raises(logs.LogsCannotBeWritten, match="HOLDFAST_LOG_DIR"):
            logs.configure("json", folder=folder)


def test_a_traceback_in_a_file_has_no_values_of_variables(tmp_path: Path) -> None:
    logs.configure("json", folder=tmp_path)
    secret = "hunter2"
    try:
        raise RuntimeError(len(secret))
    except RuntimeError:
        stdlib.get_logger("security").exception("unexpected")
    [line] = lines_of((tmp_path / "security.log").read_text())
    assert "RuntimeError: 7" in line["exception"]
    assert secret not in line["exception"]
