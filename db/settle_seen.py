"""What a settle sees under the checkout's row lock, and what it says afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import DictRow

from domain.checkout import CheckoutStatus
from domain.ids import GatewayName, PaymentId, order_id_for
from domain.messages import Capture, Ruling, Settled, SettleRequest
from domain.settlement import Situation, Verdict
from domain.tenant_settings import LatePayments


@dataclass(frozen=True, slots=True)
class Seen:
    """The row as it was locked, and the look after it (db/settle_sql.py)."""

    request: SettleRequest
    row: DictRow
    look: DictRow
    to_be_had: bool = True
    """False once the things could not be held again."""

    @property
    def situation(self) -> Situation:
        """What the decision table reads."""
        row, look = self.row, self.look
        return Situation(
            checkout_id=self.request.ref.checkout_id,
            status=CheckoutStatus(row["status"]),
            expires_at=row["expires_at"],
            now=look["now"],
            total=row["total"],
            currency=row["currency"],
            policy=LatePayments(look["policy"]),
            order_payment=(look["paid_gateway"], look["paid_by"]) if look["paid_by"] else None,
            decided=Ruling(look["decided"]) if look["decided"] else Ruling.NONE,
            known_in_time=look["known_in_time"],
            given_back=look["given_back"],
            in_hand=self._in_hand(),
            in_hand_known_in_time=bool(look["in_hand"] and look["in_hand"]["known_in_time"]),
            in_flight=look["in_flight"],
            waits_until=look["waits_until"],
            to_be_had=self.to_be_had,
        )

    def _in_hand(self) -> Capture | None:
        event = self.look["in_hand"]
        if event is None:
            return None
        return Capture(
            gateway=GatewayName(event["gateway"]),
            payment_id=PaymentId(event["payment_id"]),
            checkout_id=self.request.ref.checkout_id,
            amount=event["amount"],
            currency=event["currency"],
            received_at=datetime.fromisoformat(event["received_at"]),
        )

    def settled(self, verdict: Verdict) -> Settled:
        """The state after the verdict was carried out."""
        status = verdict.becomes or CheckoutStatus(self.row["status"])
        paid_by = (
            verdict.capture.payment_id if verdict.becomes is CheckoutStatus.CONFIRMED and verdict.capture else None
        )
        ref = self.request.ref
        return Settled(
            status=status,
            remaining_ms=self._remaining_ms(status, verdict),
            order_id=order_id_for(ref.tenant, ref.checkout_id) if status is CheckoutStatus.CONFIRMED else None,
            paid_by=paid_by or self.look["paid_by"],
            ruling=verdict.ruling if verdict.ruling is not Ruling.NONE else self._standing(),
            reason=verdict.reason or self.look["decided_reason"] or "",
            in_flight=verdict.waits,
        )

    def _remaining_ms(self, status: CheckoutStatus, verdict: Verdict) -> int:
        if status is not CheckoutStatus.HELD:
            return 0
        if verdict.waits:
            left: timedelta = self.look["waits_until"] - self.look["now"]
            return max(1, round(left.total_seconds() * 1000))
        remaining: int | None = self.look["remaining_ms"]
        return remaining or 0

    def _standing(self) -> Ruling:
        """What was decided of this payment before, so that a repeat hears the same."""
        return Ruling(self.look["decided"]) if self.look["decided"] else Ruling.NONE
