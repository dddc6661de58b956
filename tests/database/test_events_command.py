"""`holdfast events`, run as a program on real PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.events import find_event
from db.reserve import reserve
from domain.ids import Actor, EventKey, TenantId, ZoneId
from tests.support import shop
from tests.support.catalogue import audit
from tests.support.checkouts import Rows
from tests.support.command import CommandLine
from tests.support.venues import places, start_of

ME = Actor(f"cli:{pwd.getpwuid(os.getuid()).pw_name}")
CONCERT: dict[str, Any] = {
    "id": 7,
    "name": "Concert [live]",
    "venue": "Park",
    "starts_at": "2027-03-01T20:00:00-05:00",
    "zones": [
        {"name": "Stalls", "kind": "numbered", "price": 5000, "rows": [{"row": "A", "from": 1, "to": 6}]},
        {"name": "Lawn", "kind": "general", "price": 3000, "offer_price": 2500, "capacity": 50, "on_sale": False},
    ],
}


@pytest.fixture
async def demo(admin: shop.Connection) -> TenantId:
    """The tenant that commands mean when they name none."""
    return await shop.make_tenant(admin, "demo")


@pytest.fixture
def holdfast(database_url: str) -> CommandLine:
    return CommandLine(database_url)


def written(folder: Path, content: Any) -> str:
    file = folder / "event.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


async def test_an_event_is_created_from_a_file_listed_and_shown_with_what_is_available(
    holdfast: CommandLine, db: Database, rows: Rows, demo: TenantId, tmp_path: Path
) -> None:
    created = await holdfast.run("events", "create", written(tmp_path, CONCERT))
    assert (created.code, created.err) == (0, ""), created
    assert created.out.startswith("event 7 is added\n")
    assert created.out.endswith("event 7 has 2 zones\n")
    event = await find_event(db, demo, EventKey(7))
    assert event is not None
    assert (event.name, event.venue, event.on_sale) == ("Concert [live]", "Park", True)
    assert [row[:2] for row in await audit(rows, demo, ME)] == [
        ("event.created", "event:7"),
        ("zone.created", "zone:1"),
        ("zone.created", "zone:2"),
    ]
    await reserve(db, start_of(demo, places(ZoneId(1), 2)))
    listed = await holdfast.run("events", "list")
    assert "Concert [live]" in listed.out
    assert listed.out.endswith("1 events\n")
    shown = await holdfast.run("events", "show", "7")
    assert (shown.code, shown.err) == (0, "")
    [stalls, lawn] = [line.split() for line in shown.out.splitlines() if "numbered" in line or "general" in line]
    assert [part for part in stalls if part.isdigit()] == ["1", "5000", "6", "4"]
    assert [part for part in lawn if part.isdigit()] == ["2", "3000", "2500", "50", "50"]
    assert "sale" in lawn


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({**CONCERT, "name": ""}, "name"),
        ({**CONCERT, "color": "red"}, "color"),
        ({**CONCERT, "zones": [{**CONCERT["zones"][0], "rows": [{"row": "A", "from": 1}]}]}, "zones.0.rows.0.to"),
        ({**CONCERT, "zones": [{**CONCERT["zones"][1], "capacity": "50"}]}, "zones.0.capacity"),
        ({**CONCERT, "zones": 5}, "a list of zones"),
        ("{", "not good JSON"),
    ],
)
async def test_a_file_that_is_not_good_is_refused_by_its_field_and_nothing_is_made(
    holdfast: CommandLine, rows: Rows, demo: TenantId, tmp_path: Path, content: Any, named: str
) -> None:
    done = await holdfast.run("events", "create", written(tmp_path, content))
    assert (done.code, done.out) == (2, "")
    assert named in done.err.replace("\n", " ")
    assert await rows.value("SELECT count(*) FROM events") == 0


async def test_an_event_that_is_not_there_or_is_there_already_ends_with_1(
    holdfast: CommandLine, demo: TenantId, tmp_path: Path
) -> None:
    missing = await holdfast.run("events", "show", "7")
    assert (missing.code, missing.err) == (1, "holdfast: there is no event 7\n")
    file = written(tmp_path, CONCERT)
    assert (await holdfast.run("events", "create", file)).code == 0
    again = await holdfast.run("events", "create", file)
    assert (again.code, again.err) == (1, "holdfast: There is an event with this id already.\n")
    assert (await holdfast.run("events", "list", "--tenant", "nowhere")).code == 1
