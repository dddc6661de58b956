"""`holdfast payments refund`, `return`, `manual` and `refunded`: what operators do about money and stock by hand.

The same command again is the same request, so that one whose end nobody saw may be repeated; `--key` makes it another.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database, tenant_delivery
from local.commands.payment_listing import money

if TYPE_CHECKING:
    from pydantic import BaseModel

    from db.manual_payments import ManualPayment
    from db.order_refunds import OrderRefund

OrderArgument = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.", show_default=False)]
ReasonOption = Annotated[str, typer.Option(help="Why: one line, for those who look at it later.", show_default=False)]
AmountOption = Annotated[int | None, typer.Option(help="In minor units of the currency.", min=1, show_default=False)]
KeyOption = Annotated[str | None, typer.Option(help="Another request though all else is the same.", show_default=False)]
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LINE = re.compile(r"(\d{1,7})=(\d{1,5})")


def refund(
    order: OrderArgument,
    reason: ReasonOption,
    amount: AmountOption = None,
    key: KeyOption = None,
    tenant: TenantOption = None,
) -> None:
    """Refund an order, wholly or in part. Its stock stays sold: see `return`."""
    from api.fingerprint import fingerprint
    from api.ops_order_models import RefundIn
    from db.order_refunds import NewOrderRefund, decide_order_refund
    from domain.errors import Unavailable
    from domain.ids import OrderId, order_refund_id_for

    with _valid():
        body = RefundIn(amount=amount, reason=reason)
    wanted = OrderId(_id(order, "order"))

    async def run() -> tuple[OrderRefund, bool]:
        async with tenant_delivery(tenant) as (db, owner, delivery), _found(f"order {order}"):
            named = order_refund_id_for(owner, wanted, key or _same(body))
            new = NewOrderRefund(named, wanted, amount, reason, fingerprint(body))
            decided = await decide_order_refund(db, owner, actor(), new)
            try:
                await delivery.start_order_refunds(owner, wanted)
            except Unavailable:
                return decided, False
            return decided, True

    decided, started = asyncio.run(run())
    typer.echo(f"refund {decided.id} of {money(decided.amount, decided.currency)}: {decided.status}")
    if not started:
        typer.echo("Temporal does not answer: the consistency check starts it when it is back", err=True)


def return_(
    order: OrderArgument,
    line: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE=UNITS", help="May be repeated. Default: all that is left.", show_default=False),
    ] = None,
    key: KeyOption = None,
    tenant: TenantOption = None,
) -> None:
    """Put an order's things on sale again. No money goes back: see `refund`."""
    from api.fingerprint import fingerprint, key_digest
    from api.ops_order_models import ReturnedLineIn, ReturnIn
    from db.order_returns import NewReturn, return_stock
    from domain.ids import OrderId

    with _valid():
        lines = [ReturnedLineIn(line=at, quantity=units) for at, units in map(_units, line or ())]
        body = ReturnIn(lines=lines) if lines else ReturnIn()
    wanted = OrderId(_id(order, "order"))

    async def run() -> dict[int, int]:
        async with tenant_database(joined_settings(), tenant) as (db, owner), _found(f"order {order}"):
            new = NewReturn(wanted, key_digest(key or _same(body)), fingerprint(body), body.units)
            return await return_stock(db, owner, actor(), new)

    returned = asyncio.run(run())
    for at, units in returned.items():
        typer.echo(f"line {at}: {units} on sale again")
    if not returned:
        typer.echo("nothing was given back: nothing is left, or this very command was run before (see --key)")


def manual(
    checkout: Annotated[str, typer.Argument(metavar="CHECKOUT", help="The checkout's id.", show_default=False)],
    name: Annotated[str, typer.Option(help="What it is called where it was seen, such as the bank's reference.")],
    reason: ReasonOption,
    amount: Annotated[int | None, typer.Option(help="The checkout's total, in minor units.", min=1)] = None,
    tenant: TenantOption = None,
) -> None:
    """Record a payment seen elsewhere, such as a bank transfer. The same name is the same payment."""
    from activities.manual_payments import take_manual_payment
    from api.fingerprint import fingerprint
    from api.ops_order_models import ManualPaymentIn
    from db.manual_payments import NewManualPayment
    from domain.ids import CheckoutId, manual_payment_id_for

    with _valid():
        body = ManualPaymentIn(name=name, reason=reason, amount=amount)
    wanted = CheckoutId(_id(checkout, "checkout"))

    async def run() -> ManualPayment:
        async with tenant_delivery(tenant) as (db, owner, delivery), _found(f"checkout {checkout}"):
            payment = manual_payment_id_for(owner, wanted, name)
            new = NewManualPayment(payment, wanted, name, reason, fingerprint(body), amount)
            return await take_manual_payment(db, delivery, owner, actor(), new)

    recorded = asyncio.run(run())
    typer.echo(f"payment {recorded.payment_id} of {money(recorded.amount, recorded.currency)} is recorded")
    typer.echo(f"what becomes of it: holdfast payments show {recorded.payment_id}", err=True)


def refunded(
    payment: Annotated[str, typer.Argument(metavar="PAYMENT", help="The id: man_….", show_default=False)],
    by: Annotated[str, typer.Option(help="By what it went back, such as the bank's reference.", show_default=False)],
    amount: Annotated[
        int | None,
        typer.Option(help="In all until now, in minor units. Default: all that is owed.", min=1, show_default=False),
    ] = None,
    tenant: TenantOption = None,
) -> None:
    """Record that money of a payment recorded by hand was returned. The refunds that waited for it are made."""
    from api.ops_order_models import ReturnedMoneyIn
    from db.manual_refunds import record_returned_money
    from domain.ids import PaymentId

    with _valid():
        ReturnedMoneyIn(name=by, amount=amount)

    async def run() -> ManualPayment:
        async with tenant_database(joined_settings(), tenant) as (db, owner), _found(f"payment {payment} by hand"):
            return await record_returned_money(db, owner, actor(), PaymentId(payment), amount, by)

    done = asyncio.run(run())
    returned, paid = (money(each, done.currency) for each in (done.refunded_amount, done.amount))
    typer.echo(f"{returned} of {paid} are recorded as returned")


def _id(text: str, of: str) -> str:
    from local.errors import LocalError

    if not _ID.fullmatch(text):
        raise LocalError(f"{text!r} is no id of an {of}" if of[0] in "aeiou" else f"{text!r} is no id of a {of}")
    return text


def _units(text: str) -> tuple[int, int]:
    found = _LINE.fullmatch(text)
    if found is None:
        raise typer.BadParameter("--line is LINE=UNITS, such as 1=2")
    return int(found[1]), int(found[2])


def _same(body: BaseModel) -> str:
    """The key of this command when none is given."""
    from api.fingerprint import fingerprint

    return f"cli-{fingerprint(body)}"


@contextlib.asynccontextmanager
async def _found(what: str) -> AsyncIterator[None]:
    """Says what was not found."""
    from domain.errors import Invalid, NotFound
    from local.errors import LocalError

    try:
        yield
    except NotFound:
        raise LocalError(f"there is no {what}") from None
    except Invalid as error:
        fields = error.extra.get("errors", ())
        raise LocalError(" ".join([error.detail, *(f"{one['message']}. {one['fix']}." for one in fields)])) from None


@contextlib.contextmanager
def _valid() -> Iterator[None]:
    """A value that cannot be is told as the API tells it."""
    from pydantic import ValidationError

    from api.validation import field_errors

    try:
        yield
    except ValidationError as error:
        told = field_errors([{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)])
        raise typer.BadParameter("; ".join(f"{one['field']}: {one['message']}" for one in told)) from None
