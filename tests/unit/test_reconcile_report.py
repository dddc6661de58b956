"""What `--since` of `holdfast payments reconcile` can say, and what its report says of each side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from activities.comparing import Seen
from activities.reconciliation import Reconciliation
from db.reconciliation_runs import Window
from domain.disagreements import ADVICE, Kind
from domain.ids import GatewayName, PaymentId, TenantId
from domain.reconciliation import Counts
from domain.reconciliation_messages import LedgerRef
from local.commands import reconciliation_report as report
from local.commands.reconciling import since_when

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEDGER = LedgerRef(TenantId("demo"), GatewayName("sandbox"))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (None, None),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00-05:00", datetime(2026, 11, 1, 15, tzinfo=UTC)),
    ],
)
def test_a_time_or_how_long_ago(text: str | None, at: datetime | None) -> None:
    assert since_when(text, NOW) == at


NO_TIMES = "yesterday 0d -1d 1.5h 24 h 999999d 9999999m 2999-01-01 1999-12-31 0001-01-01 0001-01-01T00:00+14:00"


@pytest.mark.parametrize("text", ["", "24h ", "9999-12-31T23:59-14:00", "\N{FULLWIDTH DIGIT TWO}4h", *NO_TIMES.split()])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--since is"):
        since_when(text, NOW)


def a_reconciliation(*seen: Seen, counts: Counts, error: str | None = None) -> Reconciliation:
    return Reconciliation(Window(NOW - timedelta(days=1), NOW), counts, list(seen), error)


def a_finding(kind: Kind, *, flagged: bool, repaired: bool = False, payment: str = "pay_1", **detail: Any) -> Seen:
    both = {"gateway": None, "ours": {"status": None, "outcome": None}} | detail
    return Seen(PaymentId(payment), kind, None, both, repaired, flagged, "f" * 8)


def text(done: Reconciliation, *, dry: bool = False) -> str:
    return "\n".join(report.padded(line) + line.text for line in report.lines(LEDGER, done, dry=dry))


def test_the_exit_code_says_whether_somebody_should_look() -> None:
    fine, flagged = a_reconciliation(counts=Counts()), a_reconciliation(counts=Counts(flagged=1))
    broken = a_reconciliation(counts=Counts(), error="gateway_unavailable: it is down")
    assert [report.exit_code([one]) for one in (fine, flagged, broken)] == [0, 3, 1]
    assert report.exit_code([fine, flagged]) == 3
    assert report.exit_code([flagged, broken]) == 1


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_told_with_its_why_and_what_to_do(kind: Kind) -> None:
    told = text(a_reconciliation(a_finding(kind, flagged=True), counts=Counts(compared=1, flagged=1)))
    assert ADVICE[kind].why in told
    assert ADVICE[kind].to_do in told
    assert all(len(line) < 130 for line in told.splitlines())


def test_what_is_flagged_comes_first_and_in_columns() -> None:
    gone = {"status": "refunded", "amount": 123456, "currency": "COP", "refunded": 123456}
    order = {"outcome": "order", "amount": 123456, "currency": "COP", "refunded": 1, "to_refund": 2}
    told = text(
        a_reconciliation(
            a_finding(Kind.PAID_WITHOUT_OUTCOME, flagged=False, repaired=True),
            a_finding(Kind.REFUNDED_ELSEWHERE, flagged=True, payment="pay_long_22", gateway=gone, ours=order),
            counts=Counts(compared=1200, agreed=1198, repaired=1, flagged=1),
        )
    )
    lines = told.splitlines()
    assert "compared    1,200" in lines
    first, second = (line for line in lines if "gateway: " in line)
    assert first == (
        "FLAGGED   pay_long_22   gateway: refunded 1,234.56 COP, 1,234.56 COP refunded; "
        "ours: order 1,234.56 COP, 0.01 COP refunded, 0.02 COP to refund"
    )
    assert second == "repaired  pay_1         gateway: unknown; ours: never heard of"


def test_a_dry_run_says_that_it_is_one_and_what_a_run_would_repair() -> None:
    seen = a_finding(Kind.PAID_WITHOUT_OUTCOME, flagged=False)
    told = text(a_reconciliation(seen, counts=Counts(compared=3, agreed=2)), dry=True)
    assert "to repair       1" in told
    assert "a dry run: nothing was written" in told


def test_more_than_is_shown_is_counted() -> None:
    seen = a_finding(Kind.PAYMENT_UNKNOWN, flagged=True)
    assert "and 4,999 more, not shown" in text(a_reconciliation(seen, counts=Counts(compared=5000, flagged=5000)))
