"""Selling tickets over real HTTP: seats, seats together, places and a product in one checkout; and administering them.

Every answer is held against the OpenAPI document.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from api.fresh import MAX_AGE
from tests.support.box_office import BoxOffice, hold, seats, start, zones
from tests.support.buyers import as_json, code
from tests.support.system import System
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_two_seats_together_three_places_and_a_shirt_are_one_checkout_and_one_order(system: System) -> None:
    office, buyer = BoxOffice(system), system.buyer()
    event = await office.event(venue="Park", starts_at="2027-03-01T20:00:00-05:00")
    stalls, lawn = await office.stalls(event, 2, 6), await office.lawn(event, 10, offer_price=2500)
    shirt = await system.product(price=2000)
    before = await zones(buyer, event)
    assert [(before[name]["kind"], before[name]["total"], before[name]["available"]) for name in before] == [
        ("numbered", 12, 12),
        ("general", 10, 10),
    ]
    held = await hold(
        buyer, {"zone_id": stalls, "quantity": 2}, {"zone_id": lawn, "quantity": 3}, {"product_id": shirt}
    )
    assert held["total"] == 2 * 5000 + 3 * 2500 + 2000
    shown = await seats(buyer, stalls)
    picked = [seat["id"] for seat in shown if seat["status"] == "held"]
    assert [(seat["row"], seat["number"]) for seat in shown if seat["id"] in picked] == [("A", 3), ("A", 4)]
    assert [(line["seat_id"], line["zone_id"], line["product_id"], line["quantity"]) for line in held["lines"]] == [
        (picked[0], stalls, None, 1),
        (picked[1], stalls, None, 1),
        (None, lawn, None, 3),
        (None, None, shirt, 1),
    ]
    await asyncio.sleep(MAX_AGE)
    assert [zone["available"] for zone in (await zones(buyer, event)).values()] == [10, 7]
    await system.gateway.pay(await system.payment(held))
    view = await buyer.until(held["id"], "confirmed")
    order = as_json(await buyer.http.get(f"/v1/orders/{view['order_id']}", headers=dict(buyer.headers)))
    assert [(line["name"], line["quantity"], line["unit_price"]) for line in order["lines"]] == [
        ("Concert, Stalls, A 3", 1, 5000),
        ("Concert, Stalls, A 4", 1, 5000),
        ("Concert, Lawn", 3, 2500),
        ("Coffee", 1, 2000),
    ]
    assert Counter(seat["status"] for seat in await seats(buyer, stalls)) == {"sold": 2, "free": 10}


async def test_when_no_block_is_left_the_refusal_says_how_large_one_is(system: System) -> None:
    office, buyer = BoxOffice(system), system.buyer()
    event = await office.event()
    stalls = await office.stalls(event, 1, 7)
    row = await seats(buyer, stalls)
    held = await hold(buyer, {"seat_id": row[3]["id"]})
    apart = await start(buyer, {"zone_id": stalls, "quantity": 4})
    too_many = await start(buyer, {"zone_id": stalls, "quantity": 7})
    for answer, quantity, reason in ((apart, 4, "not_together"), (too_many, 7, "sold_out")):
        assert (answer.status_code, code(answer)) == (409, "insufficient_stock")
        [short] = answer.json()["shortages"]
        assert (short["zone_id"], short["requested"], short["available"]) == (stalls, quantity, 6)
        assert (short["largest_block"], short["reason"]) == (3, reason)
        assert short["free_at"][:19] == held["expires_at"][:19]
    assert Counter(seat["status"] for seat in await seats(buyer, stalls)) == {"held": 1, "free": 6}


async def test_the_same_key_again_answers_the_same_seats(system: System) -> None:
    office, buyer = BoxOffice(system), system.buyer()
    stalls = await office.stalls(await office.event(), 1, 8)
    first = await start(buyer, {"zone_id": stalls, "quantity": 2}, key="pair")
    again = await start(buyer, {"zone_id": stalls, "quantity": 2}, key="pair")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["lines"] == again.json()["lines"]
    assert Counter(seat["status"] for seat in await seats(buyer, stalls)) == {"held": 2, "free": 6}


async def test_free_seats_can_be_asked_for_alone_and_come_in_pages(system: System) -> None:
    office, buyer = BoxOffice(system), system.buyer()
    stalls = await office.stalls(await office.event(), 3, 5)
    every = await seats(buyer, stalls, limit=4)
    assert [(seat["row"], seat["number"]) for seat in every] == [(row, n) for row in "ABC" for n in range(1, 6)]
    taken = [seat["id"] for seat in every[2:12]]
    await hold(buyer, *({"seat_id": seat} for seat in taken))
    free = await seats(buyer, stalls, limit=4, status="free")
    assert [seat["id"] for seat in free] == [seat["id"] for seat in every if seat["id"] not in taken]
    wrong = await buyer.http.get(f"/v1/zones/{stalls}/seats?after={2**53}", headers=dict(buyer.headers))
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "after")


async def test_general_admission_sells_to_the_last_place(system: System) -> None:
    office = BoxOffice(system)
    event = await office.event()
    lawn = await office.lawn(event, 20)
    buyers = [system.buyer() for _ in range(40)]
    answers = await asyncio.gather(*(start(buyer, {"zone_id": lawn}) for buyer in buyers))
    assert Counter(answer.status_code for answer in answers) == {201: 20, 409: 20}

    async def sold_out() -> bool:
        return bool((await zones(buyers[0], event))["Lawn"]["available"] == 0)

    await eventually(sold_out)


async def test_seats_are_blocked_unless_somebody_has_them_and_a_zone_is_withdrawn_unless_anybody_has(
    system: System,
) -> None:
    office, buyer = BoxOffice(system), system.buyer()
    event = await office.event()
    stalls = await office.stalls(event, 1, 4)
    row = [seat["id"] for seat in await seats(buyer, stalls)]
    held = await hold(buyer, {"seat_id": row[0]})
    refused = await office.send("POST", f"zones/{stalls}/seats/block", {"seat_ids": row})
    assert (refused.status_code, code(refused)) == (409, "seats_committed")
    assert (refused.json()["held"], refused.json()["sold"]) == ([row[0]], [])
    blocked = await office.send("POST", f"zones/{stalls}/seats/block", {"seat_ids": row[1:3]})
    assert (blocked.status_code, blocked.json()) == (200, {"zone_id": stalls, "changed": row[1:3]})
    assert [seat["status"] for seat in await seats(buyer, stalls)] == ["held", "blocked", "blocked", "free"]
    answer = await start(buyer, {"seat_id": row[1]})
    assert answer.json()["shortages"][0]["reason"] == "sold_out"
    freed = await office.send("POST", f"zones/{stalls}/seats/unblock", {"seat_ids": row})
    assert freed.json()["changed"] == row[1:3]
    withdrawn = await office.send("PATCH", f"zones/{stalls}", {"on_sale": False})
    assert (withdrawn.status_code, code(withdrawn), withdrawn.json()["reserved"]) == (409, "zone_committed", 1)
    await buyer.cancel(held["id"])
    withdrawn = await office.send("PATCH", f"zones/{stalls}", {"on_sale": False})
    assert (withdrawn.status_code, withdrawn.json()["on_sale"]) == (200, False)
    answer = await start(buyer, {"zone_id": stalls, "quantity": 2})
    assert answer.json()["shortages"][0]["reason"] == "unavailable"


async def test_an_event_and_its_zones_change_and_keep_what_is_not_sent(system: System) -> None:
    office, buyer = BoxOffice(system), system.buyer()
    event = await office.event(venue="Park", description="Loud.")
    lawn = await office.lawn(event, 10)
    changed = await office.send("PATCH", f"events/{event}", {"starts_at": "2027-03-01T20:00:00-05:00"})
    body = as_json(changed)
    assert (body["venue"], body["description"], body["on_sale"]) == ("Park", "Loud.", True)
    assert body["starts_at"] == "2027-03-02T01:00:00Z"
    held = await hold(buyer, {"zone_id": lawn, "quantity": 4})
    low = await office.send("PATCH", f"zones/{lawn}", {"capacity": 3})
    assert (low.status_code, code(low), low.json()["reserved"]) == (409, "total_below_committed", 4)
    zone = as_json(await office.send("PATCH", f"zones/{lawn}", {"capacity": 4, "price": 4000, "offer_price": 3900}))
    assert (zone["total"], zone["available"], zone["price"], zone["offer_price"]) == (4, 0, 4000, 3900)
    assert (await buyer.read(held["id"]))["total"] == 12000
    await office.send("PATCH", f"events/{event}", {"on_sale": False})
    await asyncio.sleep(MAX_AGE)
    assert not (await zones(buyer, event))["Lawn"]["on_sale"]


BAD: list[tuple[str, str, Any, str]] = [
    ("POST", "events", {"name": ""}, "name"),
    ("POST", "events", {"name": "x", "starts_at": "tomorrow"}, "starts_at"),
    ("POST", "events", {"name": "x", "starts_at": 5}, "starts_at"),
    ("POST", "events", {"name": "x", "starts_at": "2027-03-01T20:00:00"}, "starts_at"),
    ("POST", "events", {"name": "x", "venue": "a\nb"}, "venue"),
    ("POST", "zones", {"kind": "standing"}, "kind"),
    ("POST", "zones", {"kind": "general", "capacity": -1}, "capacity"),
    ("POST", "zones", {"kind": "general"}, "body"),
    ("POST", "zones", {"kind": "numbered", "capacity": 5}, "body"),
    ("POST", "zones", {"kind": "numbered", "rows": []}, "rows"),
    ("POST", "zones", {"kind": "numbered", "rows": [{"row": "A", "from": 5, "to": 1}]}, "rows"),
    ("POST", "zones", {"kind": "numbered", "rows": [{"row": "A", "from": 1, "to": 60_000}]}, "rows"),
    ("POST", "zones", {"kind": "numbered", "rows": [{"row": "A", "from": 0, "to": 5}]}, "rows.0.from"),
    ("POST", "zones", {"kind": "numbered", "rows": [{"row": "A", "from": 1, "to": 2}] * 2}, "rows"),
    ("POST", "zones", {"kind": "general", "capacity": 5, "offer_price": 5000}, "offer_price"),
]


@pytest.mark.parametrize(("method", "what", "body", "field"), BAD)
async def test_what_makes_no_sense_is_refused_by_its_field(
    system: System, method: str, what: str, body: Any, field: str
) -> None:
    office = BoxOffice(system)
    path = f"events/{await office.event()}/zones" if what == "zones" else what
    sent = {"name": "Zone", "price": 5000, **body} if what == "zones" else body
    answer = await office.send(method, path, sent)
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_chosen_ids_make_a_creation_safe_to_repeat(system: System) -> None:
    office = BoxOffice(system)
    event = await office.event(id=4711)
    again = await office.send("POST", "events", {"id": event, "name": "Concert"})
    assert (again.status_code, code(again)) == (409, "event_exists")
    lawn = await office.lawn(event, 10, id=815)
    body = {"id": lawn, "name": "Lawn", "kind": "general", "price": 1, "capacity": 1}
    again = await office.send("POST", f"events/{event}/zones", body)
    assert (again.status_code, code(again)) == (409, "zone_exists")
