"""Going through one gateway's list of payments, page by page, and doing what `judge` says about each.

Memory is bounded by a page and by what disagrees. A page that agrees costs one round trip to the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from structlog import stdlib

from activities.gateways.interface import Gateway
from activities.remedies import Remedies
from db.database import Database
from db.payments import note_payment
from db.reconciliation import Found, OurSide, Written, our_side, repair_begun, to_ask, write_findings
from domain.disagreements import Kind
from domain.errors import GatewayRefused, GatewayUnavailable, HoldfastError, Invalid
from domain.gateway import GatewayPayment, PaymentStatus
from domain.ids import CheckoutId, GatewayName, PaymentId, TenantId
from domain.messages import Ruling
from domain.reconciliation import AGREED, GRACE, Counts, Ours, detail, is_behind, judge, needs_people

PAGE = 100
MOST_ASKED = 500
"""How many payments one run asks for one by one; the longest waiting first, the next run goes on."""
MOST_SHOWN = 1_000
"""How many disagreements a report names. All are noted and counted."""
_MOST_TOLD = 300
"""Characters of an error that a run keeps."""
_log = stdlib.get_logger("reconciliation")
T = TypeVar("T")


class LedgerUnreadable(Exception):
    """The gateway did not answer, or did not make sense: this run cannot be made."""

    def __init__(self, error: HoldfastError) -> None:
        super().__init__(f"{error.code}: {error.detail}"[:_MOST_TOLD])


@dataclass(frozen=True, slots=True)
class Seen:
    """A disagreement, for the report. `repaired`: its repair was begun now. `flagged`: people should look.

    `detail` as domain.reconciliation.detail makes it.
    """

    payment_id: PaymentId
    kind: Kind
    checkout_id: CheckoutId | None
    detail: Mapping[str, Any]
    repaired: bool
    flagged: bool
    finding: str | None
    """The id of what was noted; None in a dry run."""


@dataclass(frozen=True, slots=True)
class Book:
    """A tenant's payments at one gateway, with all that is needed to compare them."""

    db: Database
    tenant: TenantId
    name: GatewayName
    gateway: Gateway
    remedies: Remedies | None
    """None: nothing is written or begun."""
    grace: timedelta = GRACE


class Comparison:
    """One run's work. `counts` and `seen` grow as it goes; `seen` keeps the first MOST_SHOWN disagreements."""

    def __init__(self, book: Book, counts: Counts, beat: Callable[[], None]) -> None:
        self.counts = counts
        self.seen: list[Seen] = []
        self._book = book
        self._beat = beat
        self._done: set[PaymentId] = set()
        """What disagreed or was too young when it was listed: it need not be asked for again."""

    async def listed(self, since: datetime, until: datetime) -> None:
        """Compare all that the gateway lists for this time. Raises LedgerUnreadable."""
        async for page in _pages(self._book.gateway.payments(self._book.tenant, since, until)):
            by_id = {payment.payment_id: payment for payment in page}
            wanted = [(payment.payment_id, payment.checkout_id) for payment in by_id.values()]
            sides = await self._our_side(wanted, marks=self._book.remedies is not None)
            await self._compare([(by_id[payment], sides[payment]) for payment, _ in wanted])
            self._beat()

    async def asked(self) -> None:
        """Ask for what the gateway did not list and should have. Raises LedgerUnreadable."""
        book = self._book
        but = sorted(self._done)
        for payment in await to_ask(book.db, book.tenant, book.name, but, book.grace, MOST_ASKED):
            theirs = await _readable(book.gateway.fetch(book.tenant, payment))
            sides = await self._our_side([(payment, theirs.checkout_id if theirs else None)])
            await self._compare([(theirs, sides[payment])], compared=[payment])
            self._beat()

    async def _our_side(
        self, page: Sequence[tuple[PaymentId, CheckoutId | None]], *, marks: bool = False
    ) -> dict[PaymentId, OurSide]:
        return await our_side(self._book.db, self._book.tenant, self._book.name, page, marks=marks)

    async def _compare(
        self, page: Sequence[tuple[GatewayPayment | None, OurSide]], compared: Sequence[PaymentId] = ()
    ) -> None:
        found, gone = [], []
        for theirs, side in page:
            judgement = judge(self._book.tenant, theirs, side.ours, self._book.grace)
            if judgement != AGREED or (side.uncompared and self._is_dry):
                self._done.add(side.ours.payment_id)
            kind = None if _is_accepted(theirs, side, judgement.kind) else judgement.kind
            noted = await self._note(theirs, side.ours)
            self.counts += Counts(
                compared=1,
                agreed=int(kind is None and not judgement.too_young),
                too_young=int(judgement.too_young),
                noted=int(noted),
            )
            if kind is not None:
                found.append(_disagreement(theirs, side, kind))
            if not judgement.too_young:
                gone += [one.id for one in side.findings if one.open and one.kind is not kind]
        written = await self._write(found, gone, compared)
        for one in found:
            await self._mend(one, written.get((one.side.ours.payment_id, one.kind)))

    @property
    def _is_dry(self) -> bool:
        return self._book.remedies is None

    async def _note(self, theirs: GatewayPayment | None, ours: Ours) -> bool:
        """Whether the gateway had news of the payment's stand.

        Not a capture that nobody has decided on: it would no longer be in flight, and the hold's end would not ask
        about it. It is noted with its evidence, when it is mended.
        """
        book = self._book
        if theirs is not None and theirs.status is PaymentStatus.CAPTURED and ours.outcome is Ruling.NONE:
            return False
        if theirs is None or theirs.tenant not in (None, book.tenant) or not is_behind(theirs, ours):
            return False
        if not self._is_dry:
            await note_payment(book.db, book.tenant, theirs)
        return True

    async def _write(
        self, found: Sequence[_Disagreement], gone: Sequence[str], compared: Sequence[PaymentId]
    ) -> dict[tuple[PaymentId, Kind], Written]:
        if self._is_dry or not (found or gone or compared):
            return {}
        book = self._book
        return await write_findings(book.db, book.tenant, book.name, [one.as_found() for one in found], gone, compared)

    async def _mend(self, one: _Disagreement, written: Written | None) -> None:
        book, payment, repaired = self._book, one.side.ours.payment_id, False
        if book.remedies is not None and one.theirs is not None:
            repaired = await book.remedies.begin(book.tenant, one.kind, one.theirs, one.side.ours)
        if repaired:
            await repair_begun(book.db, book.tenant, book.name, payment, one.kind)
        self.counts += Counts(repaired=int(repaired), flagged=int(one.flagged))
        finding = written.id if written else None
        seen = Seen(payment, one.kind, one.checkout_id, one.detail, repaired, one.flagged, finding)
        if len(self.seen) < MOST_SHOWN:
            self.seen.append(seen)
        if written is not None and (written.opened or (one.flagged and not one.was_flagged)):
            self._tell(seen)

    def _tell(self, seen: Seen) -> None:
        """Once when a finding is new, and once when people should look."""
        tell = _log.warning if seen.flagged else _log.info
        tell(
            "payment_disagrees",
            tenant=self._book.tenant,
            gateway=self._book.name,
            payment=seen.payment_id,
            checkout=seen.checkout_id,
            kind=seen.kind.value,
            repair_begun=seen.repaired,
            theirs=seen.detail["gateway"],
            ours=seen.detail["ours"],
        )


@dataclass(frozen=True, slots=True)
class _Disagreement:
    theirs: GatewayPayment | None
    side: OurSide
    kind: Kind
    flagged: bool
    was_flagged: bool

    @property
    def checkout_id(self) -> CheckoutId | None:
        return self.side.ours.checkout_id or (self.theirs.checkout_id if self.theirs else None)

    @property
    def detail(self) -> Mapping[str, Any]:
        return detail(self.theirs, self.side.ours)

    def as_found(self) -> Found:
        return Found(self.side.ours.payment_id, self.kind, self.checkout_id, self.detail, self.flagged)


def _disagreement(theirs: GatewayPayment | None, side: OurSide, kind: Kind) -> _Disagreement:
    before = next((one for one in side.findings if one.open and one.kind is kind), None)
    flagged = needs_people(kind, before.repair_begun if before else None)
    return _Disagreement(theirs, side, kind, flagged, was_flagged=before is not None and before.flagged)


def _is_accepted(theirs: GatewayPayment | None, side: OurSide, kind: Kind | None) -> bool:
    """Whether a person has accepted just this."""
    if kind is None:
        return False
    now = detail(theirs, side.ours)
    return any(not one.open and one.kind is kind and one.detail == now for one in side.findings)


async def _pages(payments: AsyncIterator[GatewayPayment]) -> AsyncIterator[list[GatewayPayment]]:
    page: list[GatewayPayment] = []
    while (payment := await _readable(anext(payments, None))) is not None:
        page.append(payment)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


async def _readable(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except (GatewayUnavailable, GatewayRefused, Invalid) as error:
        raise LedgerUnreadable(error) from error
