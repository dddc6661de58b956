"""The report of `holdfast payments reconcile`: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from domain.disagreements import ADVICE
from domain.money import Money

if TYPE_CHECKING:
    from activities.comparing import Seen
    from activities.reconciliation import Reconciliation
    from domain.reconciliation_messages import LedgerRef

_WORD = 9
"""Columns of the first word of a line."""
_STYLES = {"FLAGGED": "red", "repaired": "green", "to repair": "yellow", "ERROR": "red"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text that begins with a word; `style` is the word's colour on a terminal."""

    word: str
    text: str
    style: str | None = None


def lines(ledger: LedgerRef, done: Reconciliation, *, dry: bool) -> Iterator[Line]:
    """What was compared, and each disagreement with why and what to do."""
    window = f"payments made from {_moment(done.window.since)} to {_moment(done.window.until)} UTC"
    yield Line("", f"{ledger.tenant} at {ledger.gateway}: {window}{', dry run' if dry else ''}")
    yield from _counts(done, dry=dry)
    if done.error:
        yield Line("ERROR", f"the gateway's list could not be read to its end: {done.error}", _STYLES["ERROR"])
        yield Line("", "what was compared until then counts; the next run looks at all of this time again")
    width = max((len(seen.payment_id) for seen in done.seen), default=0)
    for seen in sorted(done.seen, key=lambda seen: (not seen.flagged, seen.kind, seen.payment_id)):
        yield from _finding(seen, width)
    hidden = done.counts.disagreed - len(done.seen)
    if hidden > 0:
        yield Line("", "")
        yield Line("", f"and {hidden:,} more, not shown: see `holdfast payments findings`")


def as_json(ledger: LedgerRef, done: Reconciliation, *, dry: bool) -> Mapping[str, Any]:
    """The same for programs. Amounts in minor units, times in RFC 3339."""
    return {
        "tenant": ledger.tenant,
        "gateway": ledger.gateway,
        "dry_run": dry,
        "since": done.window.since.isoformat(),
        "until": done.window.until.isoformat(),
        "error": done.error,
        "counts": done.counts.as_dict(),
        "findings": [_as_json(seen) for seen in done.seen],
    }


def exit_code(every: Sequence[Reconciliation]) -> int:
    """1: a gateway could not be read; else 3: people should look at something; else 0."""
    if any(done.error for done in every):
        return 1
    return 3 if any(done.counts.flagged for done in every) else 0


def sides(detail: Mapping[str, Any]) -> tuple[str, str]:
    """What the gateway has and what we have, in a few words each."""
    return _theirs(detail["gateway"]), _ours(detail["ours"])


def _counts(done: Reconciliation, *, dry: bool) -> Iterator[Line]:
    counts = done.counts
    yield Line("compared", f"{counts.compared:>7,}")
    yield Line("agreed", f"{counts.agreed:>7,}")
    if counts.noted:
        yield Line("news", f"{counts.noted:>7,}   of payments whose state at the gateway had not reached us")
    if counts.too_young:
        yield Line("too young", f"{counts.too_young:>7,}   changed in the last minutes: the next run judges them")
    if dry:
        yield Line("to repair", f"{counts.disagreed - counts.flagged:>7,}")
    else:
        yield Line("repaired", f"{counts.repaired:>7,}{'   look again in a minute' if counts.repaired else ''}")
    note, style = ("   somebody should look", "red") if counts.flagged else ("", None)
    yield Line("flagged", f"{counts.flagged:>7,}{note}", style)
    if dry:
        yield Line("", "a dry run: nothing was written, no repair was begun")


def _finding(seen: Seen, width: int) -> Iterator[Line]:
    advice = ADVICE[seen.kind]
    word = "FLAGGED" if seen.flagged else "repaired" if seen.repaired else "to repair"
    gateway, ours = sides(seen.detail)
    yield Line("", "")
    yield Line(word, f"{seen.payment_id:<{width}}   gateway: {gateway}; ours: {ours}", _STYLES[word])
    yield Line("why", advice.why)
    if seen.flagged or not seen.repaired:
        yield Line("to do", advice.to_do)
    if seen.checkout_id:
        yield Line("checkout", seen.checkout_id)
    if seen.flagged and seen.finding:
        yield Line("finding", f"{seen.finding}   ({seen.kind})")


def _theirs(gateway: Mapping[str, Any] | None) -> str:
    if gateway is None:
        return "unknown"
    text = f"{gateway['status']} {Money(gateway['amount'], gateway['currency'])}"
    refunded = gateway["refunded"]
    return f"{text}, {Money(refunded, gateway['currency'])} refunded" if refunded else text


def _ours(ours: Mapping[str, Any]) -> str:
    if ours["outcome"] is None:
        return f"heard of as {ours['status']}, undecided" if ours["status"] else "never heard of"
    currency = ours["currency"]
    parts = [f"{ours['outcome']} {Money(ours['amount'], currency)}"]
    parts += [f"{Money(ours['refunded'], currency)} refunded"] if ours["refunded"] else []
    parts += [f"{Money(ours['to_refund'], currency)} to refund"] if ours["to_refund"] else []
    return ", ".join(parts)


def _as_json(seen: Seen) -> Mapping[str, Any]:
    return {
        "finding": seen.finding,
        "payment_id": seen.payment_id,
        "checkout_id": seen.checkout_id,
        "kind": seen.kind,
        "flagged": seen.flagged,
        "repair_begun": seen.repaired,
        "why": ADVICE[seen.kind].why,
        "to_do": ADVICE[seen.kind].to_do,
        **seen.detail,
    }


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def padded(line: Line) -> str:
    """The word, in its column; nothing where there is neither word nor text."""
    return f"{line.word:<{_WORD}} " if line.word else ""
