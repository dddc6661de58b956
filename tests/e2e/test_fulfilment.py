"""Fulfilment over HTTP: contact, tickets, the operators' view, and doing a step once more."""

from __future__ import annotations

import io
import uuid
from typing import Any

import httpx
import pytest
from pypdf import PdfReader

from activities.fulfilment.starting import Fulfilling
from api.tokens import Scope
from domain.fulfilment import OrderRef
from domain.ids import OrderId
from domain.naming import fulfilment_workflow_id, replay_workflow_id
from tests.support.buyers import Buyer, as_json, code
from tests.support.mail import pdf_of
from tests.support.system import DEMO, OTHER, System
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def put_contact(buyer: Buyer, checkout: str, **contact: Any) -> httpx.Response:
    return await buyer.http.put(f"/v1/checkouts/{checkout}/contact", json=contact, headers=dict(buyer.headers))


async def get(system: System, path: str, caller: Buyer) -> httpx.Response:
    return await system.http.get(path, headers=dict(caller.headers))


async def bought(system: System, units: int = 1, **contact: Any) -> tuple[Buyer, OrderId]:
    """A buyer and his order, whose fulfilment has ended."""
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), units))
    assert (await put_contact(buyer, held["id"], **contact)).status_code == 200
    await system.gateway.pay(await system.payment(held))
    order = OrderId((await buyer.until(held["id"], "confirmed"))["order_id"])
    await Fulfilling(system.client, system.settings.task_queue).start_fulfilment(OrderRef(DEMO, order))
    await system.client.get_workflow_handle(fulfilment_workflow_id(DEMO, order)).result()
    return buyer, order


def sent_to(system: System, address: str) -> list[Any]:
    return [email for email in system.mail.sent if email["To"] == address]


async def test_a_buyer_gets_his_tickets_by_mail_and_reads_them_again(system: System) -> None:
    address = f"{uuid.uuid4().hex}@example.com"
    buyer, order = await bought(system, 2, email=address, language="en")
    answer = await get(system, f"/v1/orders/{order}/tickets.pdf", buyer)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["cache-control"] == "private, no-store"
    assert len(PdfReader(io.BytesIO(answer.content)).pages) == 3
    [email] = sent_to(system, address)
    assert pdf_of(email) == answer.content
    assert email["Subject"].startswith("Your order")


async def test_tickets_are_not_ready_before_they_are_made(system: System) -> None:
    buyer = system.buyer()
    system.renderer.broken = True
    try:
        held = await buyer.hold((await system.product(), 1))
        await system.gateway.pay(await system.payment(held))
        order = OrderId((await buyer.until(held["id"], "confirmed"))["order_id"])
        await Fulfilling(system.client, system.settings.task_queue).start_fulfilment(OrderRef(DEMO, order))
        answer = await get(system, f"/v1/orders/{order}/tickets.pdf", buyer)
        assert (answer.status_code, code(answer)) == (409, "tickets_not_ready")
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        system.renderer.broken = False
    await system.client.get_workflow_handle(fulfilment_workflow_id(DEMO, order)).result()
    assert (await get(system, f"/v1/orders/{order}/tickets.pdf", buyer)).status_code == 200


async def test_nobody_else_reads_the_tickets(system: System) -> None:
    _, order = await bought(system)
    for stranger in (system.buyer(), system.buyer(OTHER), system.buyer(DEMO, None, Scope.SERVICE)):
        answer = await get(system, f"/v1/orders/{order}/tickets.pdf", stranger)
        assert (answer.status_code, code(answer)) == (404, "not_found")


async def test_operators_see_each_step_and_do_one_again(system: System) -> None:
    address = f"{uuid.uuid4().hex}@example.com"
    _, order = await bought(system, email=address)
    operator = system.buyer(DEMO, None, Scope.OPERATOR)
    seen = as_json(await get(system, f"/v1/ops/orders/{order}/fulfilment", operator))
    assert {one["step"]: one["status"] for one in seen["steps"]} == {
        "pdf": "done", "mail": "done", "notify": "skipped", "statistics": "done",
    }  # fmt: skip
    path, key = f"/v1/ops/orders/{order}/fulfilment/mail/replay", uuid.uuid4().hex
    first, again = [await operator.post(path, None, key) for _ in range(2)]
    assert (first.status_code, as_json(first)) == (202, {"order_id": order, "step": "mail", "replay": 1})
    assert as_json(again) == as_json(first)

    async def ended() -> bool:
        steps = as_json(await get(system, f"/v1/ops/orders/{order}/fulfilment", operator))["steps"]
        return any((one["replay"], one["status"]) == (1, "done") for one in steps)

    await eventually(ended)
    await system.client.get_workflow_handle(replay_workflow_id(DEMO, OrderId(order), "mail", 1)).result()
    assert len(sent_to(system, address)) == 2
    audit = as_json(await get(system, f"/v1/ops/audit?actor={operator_actor(operator)}", operator))
    assert [one["after"] for one in audit["items"]] == [{"step": "mail", "replay": 1}]
    assert address not in str(seen)


def operator_actor(operator: Buyer) -> str:
    return f"user:{operator.subject}"


@pytest.mark.parametrize("step", ["tickets", "nothing", "MAIL", "pdf%2F.."])
async def test_a_step_that_is_none_cannot_be_done_again(system: System, step: str) -> None:
    _, order = await bought(system)
    operator = system.buyer(DEMO, None, Scope.OPERATOR)
    answer = await operator.post(f"/v1/ops/orders/{order}/fulfilment/{step}/replay", None, None)
    assert answer.status_code == 404


async def test_what_was_sold_is_read_by_day(system: System) -> None:
    await bought(system, 3)
    operator = system.buyer(DEMO, None, Scope.OPERATOR)
    answer = await get(system, "/v1/ops/statistics/sales?since=2026-01-01", operator)
    [day] = as_json(answer)["items"]
    assert (day["currency"], day["orders"] >= 1, day["revenue"] >= 3000) == ("COP", True, True)
    assert (await get(system, "/v1/ops/statistics/sales?since=yesterday", operator)).status_code == 422


GOOD = {"email": "Ana.Gomez+x@Example.COM", "phone": "+573001234567", "name": "Ana Gómez", "language": "es"}


async def test_a_contact_is_answered_as_it_is_kept(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    answer = await put_contact(buyer, held["id"], **GOOD)
    assert as_json(answer) == {**GOOD, "email": "Ana.Gomez+x@example.com"}
    assert as_json(await put_contact(buyer, held["id"])) == dict.fromkeys(GOOD)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "ana"),
        ("email", "ana@"),
        ("email", "ana@example.com\r\nBcc: all@example.com"),
        ("email", "Ana <ana@example.com>"),
        ("email", "a@b@example.com"),
        ("email", f"{'a' * 65}@example.com"),
        ("email", f"ana@{'x' * 250}.com"),
        ("email", "ana@exa mple.com"),
        ("email", "ana,luis@example.com"),
        ("email", '"a b"@example.com'),
        ("email", "ñandú@example.com"),
        ("email", 5),
        ("phone", "3001234567"),
        ("phone", "+57 300 1234567"),
        ("phone", "+57300123456789012"),
        ("phone", "+573001234567\n"),
        ("name", ""),
        ("name", "Ana\r\nBcc: x"),
        ("name", "x" * 121),
        ("language", "fr"),
        ("colour", "red"),
    ],
)
async def test_a_bad_contact_is_refused_by_its_field_and_not_repeated(system: System, field: str, value: Any) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    answer = await put_contact(buyer, held["id"], **{field: value})
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    [error] = as_json(answer)["errors"]
    assert error["field"] in {field, "?", "body"}
    assert not isinstance(value, str) or len(value) < 4 or value not in answer.text
    await buyer.cancel(held["id"])


async def test_a_contact_of_anothers_checkout_is_not_found_and_of_one_that_is_over_gone(system: System) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    for stranger in (system.buyer(), system.buyer(OTHER)):
        assert (await put_contact(stranger, held["id"], **GOOD)).status_code == 404
    await buyer.cancel(held["id"])
    answer = await put_contact(buyer, held["id"], **GOOD)
    assert (answer.status_code, code(answer)) == (410, "hold_over")


async def test_a_broken_mail_server_and_renderer_never_touch_the_sale(system: System) -> None:
    system.mail.fails = RuntimeError("broken")
    try:
        buyer = system.buyer()
        held = await buyer.hold((await system.product(), 1))
        await put_contact(buyer, held["id"], email="ana@example.com")
        payment = await system.payment(held)
        await system.gateway.pay(payment, drop=True)
        answer = await buyer.confirm(held["id"], payment)
        assert answer.status_code == 200, answer.text
    finally:
        system.mail.fails = None
