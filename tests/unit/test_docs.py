"""The documents say what the code says: settings, errors, commands, files and links cannot drift."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import SecretStr

from domain import errors, search_attributes
from settings import (
    DEVELOPMENT_SECRET,
    DEVELOPMENT_SECRET_KEYS,
    DEVELOPMENT_TICKET_KEYS,
    DEVELOPMENT_WEBHOOK_SECRET,
    Settings,
)

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
KNOWN = "known, refused in production"
OTHER_NAMES = {"HOLDFAST_DB_ADMIN_PASSWORD", "HOLDFAST_DB_PASSWORD"}
"""Of docker-compose.yml, not settings of ours."""


def shown(default: object) -> str:
    """A default as the table of settings shows it."""
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    if value in (DEVELOPMENT_SECRET, DEVELOPMENT_SECRET_KEYS, DEVELOPMENT_TICKET_KEYS, DEVELOPMENT_WEBHOOK_SECRET):
        return KNOWN
    return "-" if value in (None, ()) else f"`{','.join(value) if isinstance(value, tuple) else value}`"


def test_the_table_of_settings_names_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(HOLDFAST_\w+)` \| (.+?) \|", OPERATIONS, re.MULTILINE)
    expected = {f"HOLDFAST_{name.upper()}": shown(field.default) for name, field in Settings.model_fields.items()}

    assert dict(rows) == expected
    assert len(rows) == len(expected)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_a_document_names_exists(document: Path) -> None:
    settings = {f"HOLDFAST_{name.upper()}" for name in Settings.model_fields}

    assert set(re.findall(r"HOLDFAST_[A-Z_]+[A-Z]", document.read_text())) - settings - OTHER_NAMES == set()


def test_the_table_of_errors_names_every_code_with_its_status() -> None:
    table = (ROOT / "docs/api.md").read_text()
    rows = re.findall(r"^\| (\d{3}) \| (`.+?`) \|", table, re.MULTILINE)
    documented = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    # MissingTenant is a fault of ours that tests look for; no request can cause it.
    existing = {(each.status, each.code) for each in every_error() if each is not errors.MissingTenant}

    assert documented == existing


def every_error() -> set[type[errors.HoldfastError]]:
    """The root and everything below it in domain/errors.py."""
    return {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.HoldfastError)}


def test_the_search_attributes_are_documented_with_their_types() -> None:
    created = re.findall(r"--name (\w+) --type (\w+)", OPERATIONS)
    explained = re.findall(r"^\| `(Holdfast\w+)` \|", OPERATIONS, re.MULTILINE)

    assert dict(created) == search_attributes.TYPES
    assert set(explained) == set(search_attributes.TYPES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_of_ours_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/operations.md"])
def test_every_file_that_a_document_names_exists(name: str) -> None:
    names = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:py|yml|md))`", (ROOT / name).read_text())
    assert names

    assert [each for each in names if not (ROOT / each).exists() and not each.startswith(".holdfast")] == []


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in DOCUMENTS for name in re.findall(r"`make ([a-z-]+)`", path.read_text())}

    assert {"run", "demo", "test"} <= named
    assert named - targets == set()


def test_every_decision_has_its_number_in_name_and_title() -> None:
    for expected, path in enumerate(sorted((ROOT / "docs/decisions").glob("*.md")), start=1):
        number = int(path.name.partition("-")[0])
        assert number == expected
        assert path.read_text().startswith(f"# {number}. ")


def test_the_picture_is_well_formed_and_says_in_words_what_it_shows() -> None:
    picture = ElementTree.parse(ROOT / "docs/flow.svg").getroot()  # noqa: S314  # our own file

    said = {each.tag.rpartition("}")[2]: each.text for each in picture}
    assert said["title"]
    assert said["desc"]
