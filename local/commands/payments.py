"""`holdfast payments`: what became of payments, and what people do about them."""

from __future__ import annotations

import typer

from local.commands import paying_back, payment_listing, reconciling

app = typer.Typer(
    no_args_is_help=True, help="Payments: list, show, refund, return, manual, refunded, reconcile, findings, accept."
)
app.command("list")(payment_listing.list_)
app.command()(payment_listing.show)
app.command()(paying_back.refund)
app.command("return")(paying_back.return_)
app.command()(paying_back.manual)
app.command()(paying_back.refunded)
app.command()(reconciling.reconcile)
app.command()(reconciling.findings)
app.command()(reconciling.accept)
