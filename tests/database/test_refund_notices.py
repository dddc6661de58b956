"""Telling buyers of refunds: once for each payment, in their language, and only where they are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from temporalio.exceptions import ApplicationError

from activities.fulfilment.outcomes import Never, NotYet
from activities.fulfilment.refund_notice import RefundNotice
from db.contacts import Contact, put_contact
from db.database import Database
from db.settle import settle
from domain.fulfilment import StepStatus, TellRefund
from domain.ids import PaymentId, TenantId
from domain.messages import Ruling
from tests.support import shop
from tests.support.checkouts import BUYER, SANDBOX, Rows, a_capture, confirm
from tests.support.fulfilment import Pigeonhole, outlets
from tests.support.mail import text_of
from tests.support.sold import held

DONE, SKIPPED, FAILED = StepStatus.DONE, StepStatus.SKIPPED, StepStatus.FAILED


@pytest.fixture
def mail() -> Pigeonhole:
    return Pigeonhole()


@pytest.fixture
async def notice(db: Database, mail: Pigeonhole) -> AsyncIterator[RefundNotice]:
    async with httpx.AsyncClient() as http:
        yield RefundNotice(db, outlets(http, mail))


async def refunded(db: Database, admin: shop.Connection, tenant: TenantId, contact: Contact | None) -> TellRefund:
    """A payment of the wrong amount, which settle has decided to give back."""
    start = await held(db, tenant, await shop.make_product(admin, tenant))
    if contact is not None:
        await put_contact(db, tenant, start.checkout_id, BUYER, contact)
    capture = a_capture(start.checkout_id, 123_456)
    assert (await settle(db, confirm(start.ref, capture))).ruling is Ruling.REFUND
    return TellRefund(tenant, SANDBOX, capture.payment_id)


@pytest.mark.parametrize(
    ("language", "subject", "said"),
    [
        ("es", "Te devolvemos tu pago de 1.234,56 COP", "porque su importe no era el del pedido"),
        ("en", "We are refunding your payment of 1,234.56 COP", "because its amount was not the order's"),
    ],
)
async def test_the_buyer_is_told_what_goes_back_and_why(
    db: Database, admin: shop.Connection, tenant: TenantId, mail: Pigeonhole, notice: RefundNotice,
    language: str, subject: str, said: str,
) -> None:  # fmt: skip
    asked = await refunded(db, admin, tenant, Contact("ana@example.com", name="Ana", language=language))
    assert (await notice.tell_refund(asked)).status is DONE
    [email] = mail.sent
    assert (email["To"], email["Subject"]) == ("ana@example.com", subject)
    assert said in text_of(email, "plain")
    assert asked.payment_id in text_of(email, "html")


async def test_it_is_told_once_however_often_it_is_asked_for(
    db: Database, admin: shop.Connection, tenant: TenantId, mail: Pigeonhole, notice: RefundNotice
) -> None:
    asked = await refunded(db, admin, tenant, Contact("ana@example.com"))
    for _ in range(3):
        assert (await notice.tell_refund(asked)).status is DONE
    assert len(mail.sent) == 1


async def test_two_who_tell_it_at_once_name_it_the_same(
    db: Database, admin: shop.Connection, tenant: TenantId, mail: Pigeonhole, notice: RefundNotice
) -> None:
    asked = await refunded(db, admin, tenant, Contact("ana@example.com"))
    await asyncio.gather(notice.tell_refund(asked), notice.tell_refund(asked))
    assert len({email["Message-ID"] for email in mail.sent}) == 1


async def test_a_buyer_of_whom_nothing_is_known_is_not_told(
    db: Database, admin: shop.Connection, tenant: TenantId, mail: Pigeonhole, notice: RefundNotice
) -> None:
    result = await notice.tell_refund(await refunded(db, admin, tenant, None))
    assert (result.status, result.reason, mail.sent) == (SKIPPED, "no_email", [])


async def test_a_payment_that_is_not_given_back_is_not_told_of(
    tenant: TenantId, mail: Pigeonhole, notice: RefundNotice
) -> None:
    result = await notice.tell_refund(TellRefund(tenant, SANDBOX, PaymentId("pay_nowhere")))
    assert (result.status, result.reason, mail.sent) == (SKIPPED, "no_refund", [])


async def test_a_shop_that_is_none_is_refused(notice: RefundNotice) -> None:
    with pytest.raises(ApplicationError) as refused:
        await notice.tell_refund(TellRefund(TenantId("nobody"), SANDBOX, PaymentId("p")))
    assert refused.value.non_retryable


async def test_a_mail_server_that_is_down_is_tried_again_and_a_refused_recipient_is_not(
    db: Database, admin: shop.Connection, rows: Rows, tenant: TenantId, mail: Pigeonhole, notice: RefundNotice
) -> None:
    asked = await refunded(db, admin, tenant, Contact("ana@example.com"))
    for error, told in ((NotYet("down"), "down"), (RuntimeError("ana@example.com"), "RuntimeError")):
        mail.fails = error
        with pytest.raises(ApplicationError, match=f"^refund_notice: {told}$|^{told}$") as failed:
            await notice.tell_refund(asked)
        assert not failed.value.non_retryable
        assert await rows.value("SELECT last_error FROM refund_notices") == told
    mail.fails = Never("mail_refused_550")
    result = await notice.tell_refund(asked)
    assert (result.status, result.reason) == (FAILED, "mail_refused_550")
