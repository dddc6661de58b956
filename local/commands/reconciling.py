"""`holdfast payments reconcile`, `findings` and `accept`: the gateways' ledgers against ours, by hand."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from local.commands.common import TenantOption, actor, joined_settings, tenant_database

if TYPE_CHECKING:
    from activities.reconciliation import Reconciler, Reconciliation
    from db.database import Database
    from db.reconciliation_findings import Finding
    from domain.ids import TenantId
    from domain.reconciliation_messages import LedgerRef

MOST_FINDINGS = 10_000
_AGO = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def reconcile(
    gateway: Annotated[
        str | None, typer.Option(help="Only this one. Default: all that the shop has set up.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="24h|ISO", help="Payments made since: 90m, 24h, 7d, or a time. Default: where the last run ended."
        ),
    ] = None,
    grace: Annotated[
        int, typer.Option(metavar="MINUTES", help="What changed so recently is left for the next run.", min=0, max=1440)
    ] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, begin no repair.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tenant: TenantOption = None,
) -> None:
    """Hold a gateway's list of payments against ours now, as the hourly schedule does. Exit 3: something is flagged."""
    from local.commands import reconciliation_report as report

    done = asyncio.run(
        _run(tenant, gateway, since_when(since, datetime.now(UTC)), timedelta(minutes=grace), dry=dry_run)
    )
    if as_json:
        typer.echo(json.dumps([report.as_json(ledger, one, dry=dry_run) for ledger, one in done], indent=2))
    else:
        for number, (ledger, one) in enumerate(done):
            if number:
                typer.echo()
            _show(ledger, one, dry=dry_run)
    raise typer.Exit(report.exit_code([one for _, one in done]))


def findings(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=MOST_FINDINGS)] = 100,
    tenant: TenantOption = None,
) -> None:
    """Show what reconciliation found and what is still so."""
    from db.reconciliation_findings import open_findings

    async def run() -> list[Finding]:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            return await open_findings(db, owner, limit=limit)

    found = asyncio.run(run())
    for one in found:
        _show_finding(one)
    more = ", and there may be more: see --limit" if len(found) == limit else ""
    typer.echo(f"{len(found)} open {'finding' if len(found) == 1 else 'findings'}{more}")


def accept(
    finding: Annotated[str, typer.Argument(help="The finding's id.", show_default=False)],
    note: Annotated[str, typer.Argument(help="Why it may stay so; without names of people.", show_default=False)],
    tenant: TenantOption = None,
) -> None:
    """Say that a finding may stay as it is: it is shown again only when its figures change. Audited."""
    from db.reconciliation_findings import accept_finding
    from domain.errors import NotFound
    from local.errors import LocalError

    if not _ID.fullmatch(finding):
        raise typer.BadParameter("FINDING is the id of a finding, in lower case")
    if not note.strip() or len(note) > 500 or not note.isprintable():
        raise typer.BadParameter("NOTE has 1 to 500 printable characters")

    async def run() -> Finding:
        async with tenant_database(joined_settings(), tenant) as (db, owner):
            try:
                return await accept_finding(db, owner, actor(), finding, note.strip())
            except NotFound:
                raise LocalError("there is no such finding") from None

    done = asyncio.run(run())
    by = f" by {done.resolved_by}" if done.resolved_by else ""
    typer.echo(f"{done.kind} of {done.payment_id} is {done.resolution}{by}")


async def _run(
    tenant: str | None, gateway: str | None, since: datetime | None, grace: timedelta, *, dry: bool
) -> list[tuple[LedgerRef, Reconciliation]]:
    from domain.reconciliation_messages import LedgerRef
    from local.errors import LocalError

    async with _reconciler(tenant, grace) as (db, owner, reconciler):
        names = reconciler.gateways
        if gateway is not None and gateway not in names:
            raise LocalError(f"{gateway!r} has no ledger to compare; there is {', '.join(names)}")
        wanted = [LedgerRef(owner, name) for name in names if gateway in (None, name)]
        ledgers = [one for one in wanted if await reconciler.is_set_up(one)]
        if not ledgers:
            raise LocalError(f"{owner} has not set up {gateway or 'any gateway'}")
        return [(one, await _one(db, reconciler, one, since, dry=dry)) for one in ledgers]


async def _one(
    db: Database, reconciler: Reconciler, ledger: LedgerRef, since: datetime | None, *, dry: bool
) -> Reconciliation:
    from db.reconciliation_runs import finish_run
    from domain.errors import Unavailable

    if dry:
        return await reconciler.look(ledger, since)
    run_id = str(uuid.uuid4())
    try:
        return await reconciler.reconcile(ledger, actor(), run_id, since)
    except Unavailable as error:  # Nobody goes on with a run by hand.
        await finish_run(db, ledger.tenant, run_id, f"{error.code}: {error.detail}")
        raise


@asynccontextmanager
async def _reconciler(tenant: str | None, grace: timedelta) -> AsyncIterator[tuple[Database, TenantId, Reconciler]]:
    """Wired as the worker has it. Of a Temporal that is down, a repair tells."""
    import logging

    import httpx
    import structlog

    from activities.gateways.registry import gateways_from
    from activities.gateways.secrets import TenantSecrets
    from activities.reconciliation import reconciler_from
    from api import temporal
    from db.keyring import KeyRing

    settings = joined_settings()
    # The report says it all, and standard output is for it alone.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with tenant_database(settings, tenant) as (db, owner), httpx.AsyncClient() as http:
        secrets = TenantSecrets(db, KeyRing.parse(settings.secret_keys.get_secret_value()))
        gateways = gateways_from(settings.gateways, http, secrets)
        client = await temporal.connect(f"127.0.0.1:{settings.temporal_port}", lazy=True)
        yield db, owner, reconciler_from(db, client, settings.task_queue, gateways, grace=grace)


def since_when(text: str | None, now: datetime) -> datetime | None:
    """The time that `--since` names, in UTC. Raises typer.BadParameter."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        at = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("--since is 90m, 24h, 7d or a time such as 2026-11-01T00:00Z") from None
    if at.year < 2000 or at > now:
        raise typer.BadParameter("--since is a time in the past, not before the year 2000")
    return at


def _show(ledger: LedgerRef, done: Reconciliation, *, dry: bool) -> None:
    from local.commands import reconciliation_report as report

    for line in report.lines(ledger, done, dry=dry):
        word = report.padded(line)
        # Only a terminal shows the colour: `echo` takes it out for anything else.
        typer.echo((typer.style(word, fg=line.style) if line.style else word) + line.text)


def _show_finding(one: Finding) -> None:
    from domain.disagreements import ADVICE
    from local.commands.reconciliation_report import sides

    gateway, ours = sides(one.detail)
    word = typer.style("FLAGGED  ", fg="red") if one.flagged_at else "open     "
    typer.echo(f"{word} {one.payment_id} at {one.gateway}   gateway: {gateway}; ours: {ours}")
    typer.echo(f"why       {ADVICE[one.kind].why}")
    typer.echo(f"to do     {ADVICE[one.kind].to_do}")
    typer.echo(f"finding   {one.id}   ({one.kind}), since {one.first_seen.astimezone(UTC):%Y-%m-%d %H:%M} UTC\n")
