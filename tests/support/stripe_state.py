"""What Stripe keeps and how it rules on it, as far as we use it: PaymentIntents, charges, refunds, Checkout Sessions.

The shapes are those of Stripe's own library; tests/unit/test_stripe_shapes.py holds them against it.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
THREE_DECIMALS = {"bhd", "jod", "kwd", "omr", "tnd"}
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


class Refused(Exception):
    """Stripe's error answer."""

    def __init__(self, status: int, code: str, kind: str = "invalid_request_error") -> None:
        super().__init__(code)
        self.status = status
        self.body = {"error": {"type": kind, "code": code, "message": f"It says {code}"}}


def missing(what: str) -> Refused:
    """404."""
    return Refused(404, "resource_missing", what and "invalid_request_error")


@dataclass
class StripeState:
    """One account. Every method is one request's work, under the lock; those named as a buyer's acts send events."""

    livemode: bool = False
    intents: dict[str, Json] = field(default_factory=dict)
    charges: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    sessions: dict[str, Json] = field(default_factory=dict)
    intent_data: dict[str, Json] = field(default_factory=dict)
    """By session: what its PaymentIntent will have."""
    events: list[Json] = field(default_factory=list)
    keys: dict[str, tuple[str, int, Json]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    refund_status: str = "succeeded"
    """Of the refunds that are made from now on."""
    now: float | None = None
    """Its clock; None: this machine's."""

    def clock(self) -> int:
        return int(time.time() if self.now is None else self.now)

    def create_intent(self, asked: Json, *, quietly: bool = False) -> Json:
        amount, currency = _amount(asked.get("amount"), asked.get("currency"))
        made: Json = {
            "id": _id("pi"),
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "currency": currency,
            "status": "requires_payment_method",
            "created": self.clock(),
            "metadata": _metadata(asked),
            "description": asked.get("description"),
            "latest_charge": None,
            "last_payment_error": None,
            "livemode": self.livemode,
        }
        made["client_secret"] = f"{made['id']}_secret_{secrets.token_hex(8)}"
        self.intents[made["id"]] = made
        if not quietly:
            self.tell("payment_intent.created", made)
        return made

    def cancel_intent(self, intent_id: str) -> Json:
        intent = self._get(self.intents, intent_id)
        if intent["status"] not in OPEN:
            raise Refused(400, "payment_intent_unexpected_state")
        intent["status"] = "canceled"
        self.tell("payment_intent.canceled", intent)
        return intent

    def create_session(self, asked: Json) -> Json:
        price = asked["line_items"]["0"]["price_data"]
        amount, currency = _amount(price.get("unit_amount"), price.get("currency"))
        now, ends = self.clock(), int(asked.get("expires_at", self.clock() + 86_400))
        if not now + 1800 <= ends <= now + 86_400 or not asked.get("success_url"):
            raise Refused(400, "parameter_invalid_integer")
        made: Json = {
            "id": _id("cs_live" if self.livemode else "cs_test"),
            "object": "checkout.session",
            "mode": asked["mode"],
            "status": "open",
            "payment_status": "unpaid",
            "amount_total": amount,
            "currency": currency,
            "created": now,
            "expires_at": ends,
            "metadata": _metadata(asked),
            "client_reference_id": asked.get("client_reference_id"),
            "payment_intent": None,
            "success_url": asked["success_url"],
            "livemode": self.livemode,
        }
        made["url"] = f"https://checkout.stripe.com/c/pay/{made['id']}"
        self.sessions[made["id"]] = made
        self.intent_data[made["id"]] = asked.get("payment_intent_data", {})
        return made

    def expire_session(self, session_id: str) -> Json:
        session = self._get(self.sessions, session_id)
        if session["status"] != "open":
            raise Refused(400, "")
        session |= {"status": "expired", "url": None}
        self.tell("checkout.session.expired", session)
        return session

    def create_refund(self, asked: Json) -> Json:
        intent = self._get(self.intents, str(asked.get("payment_intent")))
        charge = self.charges.get(intent["latest_charge"] or "")
        if charge is None or intent["status"] != "succeeded":
            raise Refused(400, "charge_not_refundable")
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            raise Refused(400, "charge_already_refunded")
        amount, _ = _amount(asked.get("amount", left), intent["currency"])
        if amount > left:
            raise Refused(400, "amount_too_large")
        made = {
            "id": _id("re"),
            "object": "refund",
            "amount": amount,
            "currency": intent["currency"],
            "charge": charge["id"],
            "payment_intent": intent["id"],
            "status": self.refund_status,
            "created": self.clock(),
            "metadata": _metadata(asked),
        }
        self.refunds[made["id"]] = made
        if made["status"] in ("succeeded", "pending"):
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            self.tell("charge.refunded", charge)
        return made

    def pay(self, payment_id: str) -> Json:
        """The buyer pays, the bank says yes."""
        with self.lock:
            intent = self._paying(payment_id)
            charge = {
                "id": _id("ch"),
                "object": "charge",
                "amount": intent["amount"],
                "amount_refunded": 0,
                "currency": intent["currency"],
                "payment_intent": intent["id"],
                "refunded": False,
                "metadata": dict(intent["metadata"]),
                "created": self.clock(),
                "livemode": self.livemode,
            }
            self.charges[charge["id"]] = charge
            intent |= {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge["id"]}
            self.tell("payment_intent.succeeded", intent)
            self._after(payment_id, "paid", "checkout.session.async_payment_succeeded")
            return intent

    def process(self, payment_id: str) -> Json:
        """The buyer pays in a way that takes days."""
        with self.lock:
            intent = self._paying(payment_id)
            intent["status"] = "processing"
            self.tell("payment_intent.processing", intent)
            self._after(payment_id, "unpaid", None)
            return intent

    def decline(self, payment_id: str) -> Json:
        """The buyer tries to pay, the bank says no."""
        with self.lock:
            intent = self._paying(payment_id)
            error = {"code": "card_declined", "type": "card_error"}
            intent |= {"status": "requires_payment_method", "last_payment_error": error}
            self.tell("payment_intent.payment_failed", intent)
            session = self.sessions.get(payment_id)
            if session is not None and session["status"] == "complete":
                self.tell("checkout.session.async_payment_failed", session)
            return intent

    def tell(self, kind: str, data: Json) -> Json:
        """Write an event; whoever plays Stripe's part in a test sends it."""
        event = {
            "id": _id("evt"),
            "object": "event",
            "type": kind,
            "created": self.clock(),
            "livemode": self.livemode,
            "api_version": "2026-10-28.dahlia",
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "data": {"object": json.loads(json.dumps(data))},
        }
        self.events.append(event)
        return event

    def once(self, key: str | None, request: str, work: Any) -> tuple[int, Json]:
        """As Stripe: the first answer for a key, also a refusal by its rules; another request with it is refused."""
        with self.lock:
            if key is not None and key in self.keys:
                asked, status, answer = self.keys[key]
                if asked != request:
                    raise Refused(400, "idempotency_key_reused", "idempotency_error")
                return status, answer
            answer = json.loads(json.dumps(work()))
            if key is not None:
                self.keys[key] = (request, 200, answer)
            return 200, answer

    def shown(self, data: Json, expand: list[str]) -> Json:
        """A copy, with what was asked for in place of its id."""
        copy = json.loads(json.dumps(data))
        for path in expand:
            self._expand(copy, path.split("."))
        return dict(copy)

    def page(self, kept: Mapping[str, Json], asked: Json) -> Json:
        """The newest first."""
        rows = list(kept.values())[::-1]
        made = asked.get("created", {})
        low, high = int(made.get("gte", 0)), int(made.get("lt", 2**40))
        rows = [row for row in rows if low <= row["created"] < high]
        if intent := asked.get("payment_intent"):
            rows = [row for row in rows if row["payment_intent"] == intent]
        if after := asked.get("starting_after"):
            ids = [row["id"] for row in rows]
            if after not in ids:
                raise missing("starting_after")
            rows = rows[ids.index(after) + 1 :]
        limit = int(asked.get("limit", 10))
        expand = [one.removeprefix("data.") for one in asked.get("expand", {}).values()]
        found = [self.shown(row, expand) for row in rows[:limit]]
        return {"object": "list", "url": "/v1/list", "data": found, "has_more": len(rows) > limit}

    def _paying(self, payment_id: str) -> Json:
        session = self.sessions.get(payment_id)
        if session is None:
            intent = self._get(self.intents, payment_id)
        elif session["status"] == "expired":
            raise Refused(400, "checkout_session_expired")
        elif session["payment_intent"] is not None:
            intent = self.intents[session["payment_intent"]]
        else:
            asked = {"amount": session["amount_total"], "currency": session["currency"]}
            intent = self.create_intent(asked | self.intent_data[payment_id])
            session["payment_intent"] = intent["id"]
        if intent["status"] not in (*OPEN, "processing"):
            raise Refused(400, "payment_intent_unexpected_state")
        return intent

    def _after(self, payment_id: str, payment_status: str, later: str | None) -> None:
        session = self.sessions.get(payment_id)
        if session is None:
            return
        was_complete = session["status"] == "complete"
        session |= {"status": "complete", "payment_status": payment_status, "url": None}
        kind = later if was_complete and later else "checkout.session.completed"
        self.tell(kind, session)

    def _expand(self, data: Json, path: list[str]) -> None:
        name, *rest = path
        kept = {"payment_intent": self.intents, "latest_charge": self.charges}[name]
        if isinstance(data.get(name), str):
            data[name] = json.loads(json.dumps(kept[data[name]]))
        if rest and isinstance(data.get(name), dict):
            self._expand(data[name], rest)

    def _get(self, kept: Mapping[str, Json], wanted: str) -> Json:
        if wanted not in kept:
            raise missing(wanted)
        return kept[wanted]


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def _amount(amount: Any, currency: Any) -> tuple[int, str]:
    if not str(amount).isdigit() or int(amount) < 1 or not isinstance(currency, str) or currency != currency.lower():
        raise Refused(400, "parameter_invalid_integer")
    if currency in THREE_DECIMALS and int(amount) % 10:
        raise Refused(400, "invalid_charge_amount")
    return int(amount), currency


def _metadata(asked: Json) -> dict[str, str]:
    metadata: dict[str, str] = asked.get("metadata", {})
    if any(len(name) > 40 or len(value) > 500 for name, value in metadata.items()):
        raise Refused(400, "metadata_too_long")
    return dict(metadata)
