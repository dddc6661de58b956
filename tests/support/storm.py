"""A storm of webhooks: what a gateway would send of many payments, copied, shuffled and mixed with forgeries."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from standardwebhooks import Webhook

from tests.support.gateway import SECRET
from tests.support.system import DEMO

ADDRESS = f"/v1/webhooks/{DEMO}/sandbox"
MOST_COPIES = 5
WRONG_SECRET = "whsec_" + "Q" * 32
FORGERIES = ("key", "body", "stale", "future", "garbage", "missing")


@dataclass(frozen=True)
class Message:
    """One webhook to be sent. `forgery`: what is wrong with it; empty for a real one."""

    id: str
    body: bytes
    forgery: str = ""

    async def send(self, http: httpx.AsyncClient) -> httpx.Response:
        """Signed now, by the Standard Webhooks specification, or not quite."""
        at = datetime.now(UTC) + timedelta(seconds={"stale": -320, "future": 320}.get(self.forgery, 0))
        signature = Webhook(WRONG_SECRET if self.forgery == "key" else SECRET).sign(self.id, at, self.body.decode())
        headers = {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": "v1,%%%" if self.forgery == "garbage" else signature,
        }
        if self.forgery == "missing":
            del headers["webhook-signature"]
        content = self.body.replace(b'"amount":', b'"amount": ') if self.forgery == "body" else self.body
        return await http.post(ADDRESS, content=content, headers=headers)


def event_of(payment: dict[str, Any], kind: str, number: int) -> Message:
    """The event of this kind as the sandbox gateway words it. `payment`: as the gateway shows it."""
    name = f"evt_{payment['id'].removeprefix('pay_')}_{kind}_{number}"
    data = {
        **{field: payment[field] for field in ("checkout_id", "tenant", "amount", "currency")},
        "payment_id": payment["id"],
        "status": kind,
        "refunded_amount": 0,
    }
    event = {"id": name, "type": f"payment.{kind}", "created_at": datetime.now(UTC).isoformat(), "data": data}
    return Message(name, json.dumps(event, separators=(",", ":")).encode())


def copied(events: Sequence[Message], total: int, dice: random.Random) -> list[Message]:
    """Each event 1 to MOST_COPIES times, `total` in all."""
    assert len(events) <= total <= MOST_COPIES * len(events), len(events)
    copies = [dice.randint(1, MOST_COPIES) for _ in events]
    while (missing := total - sum(copies)) != 0:
        which = dice.randrange(len(events))
        copies[which] = min(MOST_COPIES, max(1, copies[which] + (1 if missing > 0 else -1)))
    return [event for event, count in zip(events, copies, strict=True) for _ in range(count)]


def forged(events: Sequence[Message], total: int, dice: random.Random) -> list[Message]:
    """`total` forgeries, each under a name of its own, in every manner."""
    found = []
    for number in range(total):
        real = dice.choice(events)
        name = f"forged_{number}"
        body = real.body.replace(real.id.encode(), name.encode())
        found.append(Message(name, body, FORGERIES[number % len(FORGERIES)]))
    return found
