"""What the hourly reconciliation's workflow and activities exchange."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.ids import GatewayName, TenantId


@dataclass(frozen=True)
class LedgerRef:
    """A tenant's payments at one gateway."""

    tenant: TenantId
    gateway: GatewayName


@dataclass(frozen=True)
class LedgersAfter:
    """Ask for the next ledgers, in their order, from behind `last` (None: from the first one)."""

    last: LedgerRef | None = None


@dataclass(frozen=True)
class Ledgers:
    """Some ledgers to go through. `more`: there are others behind the last of them."""

    ledgers: list[LedgerRef] = field(default_factory=list)
    more: bool = False


@dataclass(frozen=True)
class LedgerReconciled:
    """What came of one ledger. `failed`: its gateway did not answer; the next run covers its window too."""

    compared: int = 0
    repaired: int = 0
    flagged: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Reconciled:
    """What one run over all ledgers came to."""

    ledgers: int = 0
    failed: int = 0
    compared: int = 0
    repaired: int = 0
    flagged: int = 0

    def plus(self, one: LedgerReconciled) -> Reconciled:
        """With one more ledger."""
        return Reconciled(
            self.ledgers + 1,
            self.failed + one.failed,
            self.compared + one.compared,
            self.repaired + one.repaired,
            self.flagged + one.flagged,
        )


@dataclass(frozen=True)
class ReconcileFrom:
    """Where a run begins: at the first ledger, or, continued as new, behind `last` with what was done so far."""

    last: LedgerRef | None = None
    done: Reconciled = Reconciled()
