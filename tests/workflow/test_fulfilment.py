"""Fulfilment on real Temporal: every step fails and recovers alone, is done once, and can be asked for again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from temporalio.client import WorkflowHandle

from activities import names
from activities.fulfilment.outcomes import Never, NotYet
from activities.fulfilment.starting import Fulfilling
from db.contacts import Contact, put_contact
from db.fulfilment_steps import StepRow, ask_again, read_steps
from db.order_documents import read_tickets
from domain.errors import NotFound, Unavailable
from domain.fulfilment import ALWAYS, FulfilmentResult, OrderRef, Step, StepStatus
from domain.ids import Actor, OrderId
from domain.naming import fulfilment_workflow_id, replay_workflow_id
from tests.support import faults, sales
from tests.support.checkouts import BUYER, a_start
from tests.support.mail import pdf_of, text_of
from tests.support.till import TASK_QUEUE, Till
from tests.support.waiting import eventually
from workflows import fulfilment_policies as policies

ANA = Contact("ana@example.com", "+573001234567", "Ana Gómez", "es")
OPERATOR = Actor("cli:ops")
DONE, SKIPPED, FAILED, PENDING = StepStatus.DONE, StepStatus.SKIPPED, StepStatus.FAILED, StepStatus.PENDING


@dataclass
class Sale:
    """An order whose fulfilment a test starts."""

    till: Till
    order: OrderId

    @property
    def ref(self) -> OrderRef:
        return OrderRef(self.till.tenant, self.order)

    @property
    def fulfilling(self) -> Fulfilling:
        return Fulfilling(self.till.client, TASK_QUEUE)

    def handle(self, step: Step | None = None, replay: int = 0) -> WorkflowHandle[object, FulfilmentResult]:
        workflow_id = fulfilment_workflow_id(self.till.tenant, self.order)
        if step is not None:
            workflow_id = replay_workflow_id(self.till.tenant, self.order, step, replay)
        return self.till.client.get_workflow_handle(workflow_id, result_type=FulfilmentResult)

    async def result(self, step: Step | None = None, replay: int = 0) -> dict[str, StepStatus]:
        async with asyncio.timeout(30):
            return (await self.handle(step, replay).result()).steps

    async def fulfil(self) -> dict[str, StepStatus]:
        await self.fulfilling.start_fulfilment(self.ref)
        return await self.result()

    async def again(self, step: Step) -> tuple[StepRow, dict[str, StepStatus]]:
        asked = await ask_again(self.till.db, self.till.tenant, self.order, step, f"{step}-again", OPERATOR)
        await self.fulfilling.replay(asked)
        ended = await self.result(step, asked.replay)
        return await self.step(step, asked.replay), ended

    async def step(self, step: Step, replay: int = 0) -> StepRow:
        steps = await read_steps(self.till.db, self.till.tenant, self.order) or []
        return next(one for one in steps if (one.step, one.replay) == (step, replay))

    async def attempts(self, step: Step) -> int:
        steps = await read_steps(self.till.db, self.till.tenant, self.order) or []
        return next((one.attempts for one in steps if one.step is step), 0)

    async def ended(self, step: Step) -> bool:
        steps = await read_steps(self.till.db, self.till.tenant, self.order) or []
        return any(one.step is step and one.status is DONE for one in steps)

    async def failed(self, step: Step) -> bool:
        return await self.attempts(step) > 0 and (await self.step(step)).last_error is not None


async def a_sale(till: Till, contact: Contact | None = ANA) -> Sale:
    """A paid order of one unit, made without a run: nothing has started its fulfilment."""
    sold = await sales.a_sale(till.db, till.tenant, {till.products[0]: 1})
    if contact is not None:
        assert await put_contact(till.db, till.tenant, sold.start.checkout_id, BUYER, contact)
    return Sale(till, sold.order)


async def test_a_sale_starts_its_fulfilment_by_itself_and_its_run_has_no_event_more_for_it(till: Till) -> None:
    held = await till.start()
    await till.pay(held)
    order = (await till.result(held)).order_id
    assert order is not None
    assert (await Sale(till, order).result())["pdf"] is DONE
    assert till.faults.seen[names.START_FULFILMENT] == 0


async def test_a_run_of_the_release_that_started_it_itself_still_does(till: Till) -> None:
    held = await till.start(replace(a_start(till.tenant, {till.products[0]: 1}), fulfils=True))
    await till.pay(held)
    order = (await till.result(held)).order_id
    assert order is not None
    assert (await Sale(till, order).result())["pdf"] is DONE
    assert till.faults.seen[names.START_FULFILMENT] == 1
    assert till.renderer.asked == 1


async def test_a_sale_stands_where_its_fulfilment_cannot_be_started_and_the_check_starts_it(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    async def refuse(_: Fulfilling, ref: OrderRef, **__: object) -> None:
        refused.set()
        raise Unavailable(f"no {ref.order_id} now")

    with monkeypatch.context() as down:
        down.setattr(Fulfilling, "start", refuse)
        held = await till.start()
        await till.pay(held)
        order = (await till.result(held)).order_id
        async with asyncio.timeout(10):
            await refused.wait()
    assert order is not None
    assert (await till.repair.repair_fulfilment(till.tenant, grace=0)).fulfilments_started == 1
    assert (await Sale(till, order).result())["pdf"] is DONE


async def test_an_order_gets_its_tickets_its_email_and_is_counted(till: Till) -> None:
    sale = await a_sale(till)
    assert await sale.fulfil() == {"pdf": DONE, "mail": DONE, "notify": DONE, "statistics": DONE}
    tickets = await read_tickets(till.db, till.tenant, sale.order)
    assert tickets is not None
    [email] = till.mail.sent
    assert email["To"] == "ana@example.com"
    assert pdf_of(email) == tickets.content
    assert "Hola, Ana Gómez:" in text_of(email, "plain")
    assert await till.rows.value("SELECT count(*) FROM orders WHERE fulfilled_at IS NOT NULL") == 1
    assert await till.rows.value("SELECT revenue FROM daily_sales") == 1000
    assert (await sale.step(Step.NOTIFY)).detail["by"] == "log"


async def test_without_a_contact_what_needs_one_is_skipped_and_says_why(till: Till) -> None:
    sale = await a_sale(till, contact=None)
    assert await sale.fulfil() == {"pdf": DONE, "mail": SKIPPED, "notify": SKIPPED, "statistics": DONE}
    assert [(await sale.step(step)).reason for step in (Step.MAIL, Step.NOTIFY)] == ["no_email", "no_phone"]
    assert till.mail.sent == []


async def test_starting_it_again_is_a_success_and_does_nothing_twice(till: Till) -> None:
    sale = await a_sale(till)
    await asyncio.gather(*(sale.fulfilling.start_fulfilment(sale.ref) for _ in range(4)))
    await sale.result()
    run = (await sale.handle().describe()).run_id
    await sale.fulfilling.start_fulfilment(sale.ref)
    assert (await sale.handle().describe()).run_id == run
    await sale.fulfilling.start(sale.ref, again=True)
    await sale.result()
    assert (await sale.handle().describe()).run_id != run
    assert len(till.mail.sent) == 1
    assert till.renderer.asked == 1
    assert await till.rows.value("SELECT orders FROM daily_sales") == 1


async def test_a_mail_server_that_is_down_keeps_nothing_else_waiting_and_the_mail_goes_when_it_is_back(
    till: Till,
) -> None:
    sale = await a_sale(till)
    till.mail.fails = NotYet("the mail server: SMTPConnectError")
    await sale.fulfilling.start_fulfilment(sale.ref)

    async def all_but_the_mail() -> bool:
        done = [await sale.ended(step) for step in (Step.PDF, Step.NOTIFY, Step.STATISTICS)]
        return all(done) and await sale.failed(Step.MAIL)

    await eventually(all_but_the_mail)
    waiting = await sale.step(Step.MAIL)
    assert (waiting.status, waiting.last_error) == (PENDING, "the mail server: SMTPConnectError")
    till.mail.fails = None
    assert (await sale.result())["mail"] is DONE
    assert len(till.mail.sent) == 1
    assert (await sale.step(Step.MAIL)).attempts >= 2


async def test_an_email_whose_answer_was_lost_goes_again_under_the_same_message_id(till: Till) -> None:
    sale = await a_sale(till)
    till.mail.forgets = True
    assert (await sale.fulfil())["mail"] is DONE
    first, second = till.mail.sent
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_recipient_who_is_refused_fails_the_mail_alone_and_a_replay_mends_it(till: Till) -> None:
    sale = await a_sale(till)
    till.mail.fails = Never("mail_refused_550")
    assert await sale.fulfil() == {"pdf": DONE, "mail": FAILED, "notify": DONE, "statistics": DONE}
    assert (await sale.step(Step.MAIL)).reason == "mail_refused_550"
    till.mail.fails = None
    again, ended = await sale.again(Step.MAIL)
    assert (again.status, ended) == (DONE, {"mail": DONE})
    assert pdf_of(till.mail.sent[0]) is not None
    assert (await sale.step(Step.MAIL)).status is FAILED, "the first time stays as it was"


async def test_a_renderer_that_is_broken_keeps_nothing_but_the_mail_waiting(till: Till) -> None:
    sale = await a_sale(till)
    till.renderer.broken = True
    await sale.fulfilling.start_fulfilment(sale.ref)
    await eventually(lambda: sale.attempts(Step.PDF))
    await eventually(lambda: till.rows.value("SELECT count(*) FROM fulfilment_steps WHERE status = 'done'"))
    assert (await sale.step(Step.PDF)).status is PENDING
    assert await sale.attempts(Step.MAIL) == 0, "it waits for the tickets for some minutes"
    till.renderer.broken = False
    assert (await sale.result())["mail"] is DONE
    assert pdf_of(till.mail.sent[0]) is not None


async def test_the_mail_does_not_wait_for_the_tickets_for_ever_and_they_follow(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await a_sale(till)
    till.renderer.broken = True
    monkeypatch.setattr(policies, "MAIL_WAITS", timedelta(seconds=1))
    await sale.fulfilling.start_fulfilment(sale.ref)

    async def sent() -> int:
        return len(till.mail.sent)

    await eventually(sent)
    assert pdf_of(till.mail.sent[0]) is None
    assert "otro correo" in text_of(till.mail.sent[0], "plain")
    till.renderer.broken = False
    assert await sale.result() == {
        "pdf": DONE, "mail": DONE, "tickets": DONE, "notify": DONE, "statistics": DONE,
    }  # fmt: skip
    first, second = till.mail.sent
    assert pdf_of(second) is not None
    assert first["Message-ID"] != second["Message-ID"]


@pytest.mark.parametrize("step", ALWAYS)
async def test_each_step_can_be_asked_for_again_alone(till: Till, step: Step) -> None:
    sale = await a_sale(till)
    await sale.fulfil()
    again, ended = await sale.again(step)
    assert (again.status, again.attempts, ended) == (DONE, 1, {step.value: DONE})
    sent = {Step.MAIL: 2}.get(step, 1)
    assert (len(till.mail.sent), till.renderer.asked) == (sent, 2 if step is Step.PDF else 1)
    assert len({email["Message-ID"] for email in till.mail.sent}) == sent
    assert await till.rows.value("SELECT orders FROM daily_sales") == 1, "an order counts once"


async def test_a_replayed_mail_goes_to_where_the_buyer_can_be_written_to_now(till: Till) -> None:
    held = await till.start()
    await put_contact(till.db, till.tenant, held.id, BUYER, ANA)
    await till.pay(held)
    order = (await till.result(held)).order_id
    assert order is not None
    sale = Sale(till, order)
    await sale.fulfil()
    await put_contact(till.db, till.tenant, held.id, BUYER, Contact("luis@example.com", language="en"))
    await sale.again(Step.MAIL)
    assert [email["To"] for email in till.mail.sent] == ["ana@example.com", "luis@example.com"]
    assert till.mail.sent[1]["Subject"].startswith("Your order")


@pytest.mark.parametrize(
    "activity",
    [names.MAKE_TICKETS, names.SEND_CONFIRMATION, names.NOTIFY_BUYER, names.COUNT_ORDER, names.CLOSE_FULFILMENT],
)
@pytest.mark.parametrize("fault", [faults.twice, faults.lost_once], ids=["twice", "lost_once"])
async def test_an_activity_that_runs_twice_has_its_effect_once(till: Till, activity: str, fault: faults.Fault) -> None:
    sale = await a_sale(till)
    till.faults.plan[activity] = fault
    assert await sale.fulfil() == {"pdf": DONE, "mail": DONE, "notify": DONE, "statistics": DONE}
    assert (len(till.mail.sent), till.renderer.asked) == (1, 1)
    assert await till.rows.value("SELECT orders FROM daily_sales") == 1


async def test_a_run_that_was_ended_by_force_is_started_again_and_does_only_what_is_left(till: Till) -> None:
    sale = await a_sale(till)
    till.mail.fails = NotYet("down")
    await sale.fulfilling.start_fulfilment(sale.ref)
    await eventually(lambda: sale.attempts(Step.MAIL))
    await sale.handle().terminate("a test")
    till.mail.fails = None
    assert await sale.fulfilling.mend(till.db, till.tenant, 0) == 1
    assert (await sale.result())["mail"] is DONE
    assert (len(till.mail.sent), till.renderer.asked) == (1, 1)
    assert await sale.fulfilling.mend(till.db, till.tenant, 0) == 0


async def test_a_replay_that_was_never_started_is_started_by_the_check(till: Till) -> None:
    sale = await a_sale(till)
    await sale.fulfil()
    asked = await ask_again(till.db, till.tenant, sale.order, Step.MAIL, "k", OPERATOR)
    assert await sale.fulfilling.mend(till.db, till.tenant, 0) == 1
    assert (await sale.result(Step.MAIL, asked.replay))["mail"] is DONE
    assert len(till.mail.sent) == 2


async def test_a_step_that_was_tried_for_days_is_given_up_and_the_order_is_fulfilled_all_the_same(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await a_sale(till)
    till.mail.fails = NotYet("down")
    mail = policies.STEPS[Step.MAIL]
    impatient = replace(mail, patience=replace(mail.patience, altogether=timedelta(seconds=1)))
    monkeypatch.setattr(policies, "STEPS", {**policies.STEPS, Step.MAIL: impatient})
    assert await sale.fulfil() == {"pdf": DONE, "mail": FAILED, "notify": DONE, "statistics": DONE}
    given_up = await sale.step(Step.MAIL)
    assert (given_up.reason, given_up.last_error) == ("tried_for_days", "down")
    assert await till.rows.value("SELECT count(*) FROM orders WHERE fulfilled_at IS NOT NULL") == 1


def test_what_goes_out_is_tried_for_days_with_growing_pauses() -> None:
    for step in (Step.PDF, Step.MAIL, Step.TICKETS, Step.NOTIFY):
        patience = policies.STEPS[step].patience
        assert patience.altogether == timedelta(days=5)
        assert (patience.retry.backoff_coefficient, patience.retry.maximum_interval) == (2.0, timedelta(hours=1))
        assert patience.retry.maximum_attempts == 0
    assert policies.STEPS[Step.STATISTICS].patience.altogether is None


async def test_the_fulfilment_of_no_order_ends_at_once(till: Till) -> None:
    nowhere = Sale(till, OrderId("00000000-0000-4000-8000-000000000000"))
    await nowhere.fulfilling.start_fulfilment(nowhere.ref)
    with pytest.raises(Exception, match="Workflow execution failed"):
        await nowhere.result()
    with pytest.raises(NotFound):
        await ask_again(till.db, till.tenant, nowhere.order, Step.MAIL, "k", OPERATOR)


async def test_nothing_of_the_buyer_is_in_temporal(till: Till) -> None:
    sale = await a_sale(till)
    till.mail.fails = RuntimeError("<ana@example.com> Ana Gómez +573001234567")
    await sale.fulfilling.start_fulfilment(sale.ref)
    await eventually(lambda: sale.attempts(Step.MAIL))
    till.mail.fails = None
    await sale.result()
    said = (await sale.handle().fetch_history()).to_json()
    for secret in ("ana@example.com", "Ana G", "573001234567"):
        assert secret not in said
    assert (await sale.step(Step.MAIL)).last_error is None


async def test_a_failure_kept_in_the_row_names_only_its_kind(till: Till) -> None:
    sale = await a_sale(till)
    till.mail.fails = RuntimeError("<ana@example.com>")
    await sale.fulfilling.start_fulfilment(sale.ref)
    await eventually(lambda: sale.failed(Step.MAIL))
    assert (await sale.step(Step.MAIL)).last_error == "RuntimeError"
    till.mail.fails = None
    await sale.result()
