"""How a gateway and we can disagree about a payment, what is done about each, and what people are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the gateway and we can disagree about a payment."""

    PAID_WITHOUT_OUTCOME = "paid_without_outcome"
    SECOND_CAPTURE = "second_capture"
    PAID_AND_WAITING = "paid_and_waiting"
    REFUNDED_UNSEEN = "refunded_unseen"
    REFUND_UNFINISHED = "refund_unfinished"
    ORDER_REFUND_UNFINISHED = "order_refund_unfinished"
    REFUND_MISSING = "refund_missing"
    REFUNDED_ELSEWHERE = "refunded_elsewhere"
    PAYMENT_UNKNOWN = "payment_unknown"
    NOT_CAPTURED = "not_captured"
    AMOUNT_DIFFERS = "amount_differs"
    FOREIGN_TENANT = "foreign_tenant"


class Remedy(StrEnum):
    """What is done about a disagreement. All but `people` go the ways that settle and refund go anyway."""

    DELIVER = "deliver"
    """Hand the capture over as if its webhook had come: `deliver` and `settle` decide."""
    REDELIVER = "redeliver"
    """Hand its event over again, which is in the inbox."""
    RECORD = "record"
    """Record the outcome: the money has gone back already."""
    REFUND = "refund"
    """Start the payment's own workflow again, which makes the refund that is owed."""
    ORDER_REFUND = "order_refund"
    """Start the workflow of the order's refunds again."""
    PEOPLE = "people"
    """Show it: nothing can be done without knowing what somebody meant."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a disagreement means and what is to be done, for people."""

    remedy: Remedy
    why: str
    to_do: str


ADVICE: Mapping[Kind, Advice] = {
    Kind.PAID_WITHOUT_OUTCOME: Advice(
        Remedy.DELIVER,
        "the gateway has taken the money, and we have neither an order nor a refund for it",
        "if it stays: read `holdfast payments show PAYMENT`, and see whether a worker runs",
    ),
    Kind.SECOND_CAPTURE: Advice(
        Remedy.DELIVER,
        "the gateway has taken the money twice for one checkout: its order has another payment",
        "if it stays: refund this payment; the order keeps the other one",
    ),
    Kind.PAID_AND_WAITING: Advice(
        Remedy.REDELIVER,
        "the gateway has taken the money; its event waits undecided in the inbox",
        "if it stays: read `holdfast payments show PAYMENT`; its checkout is not known, or no worker runs",
    ),
    Kind.REFUNDED_UNSEEN: Advice(
        Remedy.RECORD,
        "money was taken and given back at the gateway, and we had heard of neither",
        "nothing: it is recorded as refunded; find out why its webhooks do not come",
    ),
    Kind.REFUND_UNFINISHED: Advice(
        Remedy.REFUND,
        "a refund was decided, and is not known to be made",
        "if it stays: read its run in Temporal (late-payment/…): the gateway may refuse",
    ),
    Kind.ORDER_REFUND_UNFINISHED: Advice(
        Remedy.ORDER_REFUND,
        "a refund of an order was decided, and is not known to be made",
        "if it stays: read its run in Temporal (refund/…): the gateway may refuse",
    ),
    Kind.REFUND_MISSING: Advice(
        Remedy.PEOPLE,
        "we have a refund as made, and the gateway has given back less",
        "ask the gateway what became of the refund; it may have failed at the buyer's bank",
    ),
    Kind.REFUNDED_ELSEWHERE: Advice(
        Remedy.PEOPLE,
        "the gateway has given back more than we know of: somebody did so at its own desk",
        "find out who did; `holdfast payments return ORDER` if the things come back; then accept the finding",
    ),
    Kind.PAYMENT_UNKNOWN: Advice(
        Remedy.PEOPLE,
        "we have this payment as paid, and the gateway does not know it",
        "check that the tenant's gateway account is the one that took the money; else the order is unpaid",
    ),
    Kind.NOT_CAPTURED: Advice(
        Remedy.PEOPLE,
        "we have this payment as paid, and the gateway says that nothing was captured",
        "ask the gateway whether the capture was reversed; else the order is unpaid",
    ),
    Kind.AMOUNT_DIFFERS: Advice(
        Remedy.PEOPLE,
        "the gateway has another amount or currency than we",
        "ask the gateway what was taken from the buyer, and refund or ask for the difference",
    ),
    Kind.FOREIGN_TENANT: Advice(
        Remedy.PEOPLE,
        "the gateway lists a payment that names another tenant",
        "check whose gateway account this tenant's credentials open",
    ),
}
