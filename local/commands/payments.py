"""`holdfast payments`: what became of payments, and what people do about them."""

from __future__ import annotations

import typer

from local.commands import reconciling

app = typer.Typer(no_args_is_help=True, help="Payments: reconcile, findings, accept.")
app.command()(reconciling.reconcile)
app.command()(reconciling.findings)
app.command()(reconciling.accept)
