"""`holdfast payments list` and `show`: what there is, what became of each, and why."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from local.commands.common import TenantOption, joined_settings, tenant_database

if TYPE_CHECKING:
    from psycopg.rows import DictRow

    from db.payment_reading import PaymentFilter, PaymentView

MOST_PAYMENTS = 10_000
PIPE_WIDTH = 220
"""Columns of a table that no terminal shows."""
MANUAL_PREFIX = "man_"
_CHECKOUT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATUSES = ("created", "processing", "failed", "captured", "refunded", "expired")
_OUTCOMES = ("order", "refund")
_REFUND_STATUSES = ("intended", "refunded")


def list_(
    status: Annotated[
        str | None, typer.Option(metavar=f"[{'|'.join(_STATUSES)}]", help="As the gateway last said.")
    ] = None,
    outcome: Annotated[str | None, typer.Option(metavar="[order|refund]", help="What became of it.")] = None,
    refund_status: Annotated[
        str | None, typer.Option(metavar="[intended|refunded]", help="intended: money is still owed.")
    ] = None,
    quarantined: Annotated[bool, typer.Option("--quarantined", help="Only what somebody should look at.")] = False,
    checkout: Annotated[str | None, typer.Option(help="Only those of this checkout.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=MOST_PAYMENTS)] = 50,
    tenant: TenantOption = None,
) -> None:
    """Show payments, newest first, and what became of each."""
    from db.payment_reading import PaymentFilter
    from domain.ids import CheckoutId

    if checkout and not _CHECKOUT.fullmatch(checkout):
        raise typer.BadParameter("--checkout is the id of a checkout, in lower case")
    wanted = PaymentFilter(
        _one_of("--status", status, _STATUSES),
        _one_of("--outcome", outcome, _OUTCOMES),
        True if quarantined else None,
        _one_of("--refund-status", refund_status, _REFUND_STATUSES),
        CheckoutId(checkout) if checkout else None,
    )
    rows = asyncio.run(_rows(wanted, limit, tenant))
    if rows:
        _print_table(rows)
    more = ", and there may be more: see --limit" if len(rows) == limit else ""
    typer.echo(f"{len(rows)} {'payment' if len(rows) == 1 else 'payments'}{more}")


def show(
    payment: Annotated[str, typer.Argument(help="The gateway's id of the payment.", show_default=False)],
    gateway: Annotated[
        str | None, typer.Option(help="Its gateway. Default: manual for man_…, else sandbox.", show_default=False)
    ] = None,
    tenant: TenantOption = None,
) -> None:
    """Show everything about one payment, and why it stands as it does."""
    from api.ops_payment_models import payment_detail
    from db.payment_reading import read_payment
    from domain.ids import GatewayName, PaymentId, TenantId
    from local.errors import LocalError

    name = gateway or gateway_of(payment)

    async def run() -> tuple[TenantId, PaymentView | None]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return owner, await read_payment(db, owner, GatewayName(name), PaymentId(payment))

    owner, view = asyncio.run(run())
    if view is None:
        raise LocalError(f"nobody has heard of a payment {payment!r} of gateway {name!r}")
    detail = payment_detail(owner, view)
    typer.echo(detail.why)
    for label, value in _lines(view.row, detail.checkout_status, detail.workflows):
        typer.echo(f"{label:<10} {value}")
    for line in _history(view):
        typer.echo(line)


def gateway_of(payment: str) -> str:
    """The gateway that an id is of, when nobody says."""
    return "manual" if payment.startswith(MANUAL_PREFIX) else "sandbox"


def money(amount: int, currency: str) -> str:
    """An amount for people."""
    from domain.money import Money

    return str(Money(amount, currency))


async def _rows(wanted: PaymentFilter, limit: int, tenant: str | None) -> list[DictRow]:
    from db.payment_reading import list_payments

    rows: list[DictRow] = []
    async with tenant_database(joined_settings(), tenant) as (db, owner):
        before = None
        while len(rows) < limit:
            page = await list_payments(db, owner, wanted, limit=limit - len(rows), before=before)
            rows += page.rows
            before = page.last
            if before is None:
                break
    return rows


def _one_of(option: str, value: str | None, wanted: Sequence[str]) -> str | None:
    if value is not None and value not in wanted:
        raise typer.BadParameter(f"{option} is one of {', '.join(wanted)}")
    return value


def _print_table(rows: Sequence[DictRow]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("known (UTC)", "payment", "checkout", "amount", "status", "outcome")
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(
            *map(
                Text,
                (
                    _moment(row["known_at"]),
                    f"{row['gateway']}/{row['payment_id']}",
                    row["checkout_id"] or "-",
                    money(row["amount"], row["currency"]),
                    row["status"],
                    _outcome(row),
                ),
            )
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(table)


def _outcome(row: DictRow) -> str:
    refunded = money(row["refunded"], row["currency"]) if row["refunded"] else None
    parts = (row["outcome"], row["reason"], row["refund_status"], refunded, "LOOK" if row["quarantined"] else None)
    return " ".join(part for part in parts if part) or "-"


def _lines(row: DictRow, checkout_status: str | None, workflows: Sequence[str]) -> list[tuple[str, str]]:
    checkout = f"{row['checkout_id']} ({checkout_status or 'not known'})" if row["checkout_id"] else "-"
    return [
        ("payment", f"{row['gateway']}/{row['payment_id']}"),
        ("status", row["status"]),
        ("amount", money(row["amount"], row["currency"])),
        ("checkout", checkout),
        ("order", row["order_id"] or "-"),
        ("outcome", _outcome(row)),
        *(("workflow", workflow) for workflow in workflows),
    ]


def _history(view: PaymentView) -> Iterator[str]:
    """What happened, oldest first."""
    currency = view.row["currency"]
    happened: list[tuple[datetime, str]] = [
        (one["received_at"], f"event {one['event_id']}: {one['kind']}, {one['state']}") for one in view.events
    ]
    happened += [(one["decided_at"], _refund_line(one)) for one in view.refunds]
    if view.manual:
        by_hand: dict[str, Any] = view.manual
        line = f"recorded by {by_hand['actor']} as {by_hand['name']!r}: {by_hand['reason']}"
        returned = money(by_hand["refunded_amount"], currency)
        happened.append((by_hand["recorded_at"], f"{line}; returned by hand: {returned}"))
    for at, what in sorted(happened, key=lambda one: one[0]):
        yield f"{_moment(at)}  {what}"


def _refund_line(refund: DictRow) -> str:
    amount = money(refund["amount"], refund["currency"])
    made = f"made {_moment(refund['refunded_at'])}" if refund["refunded_at"] else "still owed"
    return f"refund of {amount} decided by {refund['actor']}: {refund['reason']}; {made}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
