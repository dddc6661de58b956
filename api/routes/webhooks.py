"""Webhooks: verify over the raw bytes, store once, hand over, answer."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import Field
from structlog import stdlib

from api.deps import Wired
from api.models import Answer
from api.problems import documented
from api.requests import StrictRoute
from db.inbox import record_event
from domain.errors import BadRequest, BodyTooSlow, Invalid, InvalidSignature, NotFound, TooLarge, Unavailable
from domain.ids import GatewayName, TenantId

router = APIRouter(route_class=StrictRoute, tags=["webhooks"])
_log = stdlib.get_logger("webhooks")
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Received(Answer):
    """The event is stored, and where it went; or it is nothing to us."""

    status: Literal["nothing_to_do", "to_checkout", "to_late_payment", "unmatched", "ignored"] = Field(
        description="`unmatched`: its checkout is not known yet; it is kept and matched later. `ignored`: genuine, but "
        "of a kind that says nothing of payments, or of a payment that was not made for this shop's checkouts here."
    )


@router.post(
    "/v1/webhooks/{tenant}/{gateway}",
    operation_id="receiveWebhook",
    summary="Receive a gateway's event",
    responses=documented(BadRequest, InvalidSignature, NotFound, BodyTooSlow, TooLarge, Invalid, Unavailable),
)
async def receive(
    tenant: Annotated[str, Path()], gateway: Annotated[str, Path()], request: Request, services: Wired
) -> Received:
    """Signed as the gateway signs. A repeat changes nothing; 503 asks the gateway to send it again."""
    adapter = services.gateways.get(GatewayName(gateway))
    if adapter is None or not _TENANT.fullmatch(tenant):
        raise NotFound
    owner, body = TenantId(tenant), await request.body()
    event = await adapter.parse_webhook(owner, request.headers, body, datetime.now(UTC))
    if event is None:
        return Received(status="ignored")
    stored = await record_event(services.db, owner, event, body)
    if stored is None:
        raise NotFound
    handed = await services.delivery.deliver(owner, stored)
    _log.info("webhook", event_id=event.event_id, kind=event.kind, payment=event.payment_id, handed=handed)
    return Received(status=handed.value)
