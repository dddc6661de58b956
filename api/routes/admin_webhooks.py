"""A tenant's webhooks, for its administrators: where they go, what was sent, and sending it again."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from structlog import stdlib

from api.deps import Admin, Db, Services, Wired
from api.hook_models import (
    DeliveriesOut,
    DeliveriesQuery,
    ReplayedDeliveriesOut,
    RotateIn,
    TestSentOut,
    WebhookIn,
    WebhookOut,
    WebhookPatch,
    WebhookSecretOut,
    WebhooksOut,
)
from api.models import as_checkout_id
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from db import hook_endpoints, hook_history
from db.hook_endpoints import HookChanges, NewHook
from domain.checkout_events import HookKind
from domain.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from domain.ids import HookDeliveryId, HookId

router = APIRouter(route_class=StrictRoute, tags=["tenant administration"])
_log = stdlib.get_logger("security")
_ALWAYS = (BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Unavailable)
_WITH_BODY = (*_ALWAYS, *JSON_BODY)
HookPath = Annotated[str, Path(description="The endpoint's id.", examples=["0d6f1f0a-97a1-4d6c-9b0a-5d4a1f1b2c3d"])]
DeliveryPath = Annotated[str, Path(description="The delivery's id.", examples=["5f0c1f0a-97a1-4d6c-9b0a-5d4a1f1b2c3d"])]


@router.post(
    "/v1/admin/webhooks",
    operation_id="createWebhook",
    summary="Add an endpoint",
    status_code=201,
    responses=documented(*_WITH_BODY, Conflict),
)
async def create(body: WebhookIn, caller: Admin, services: Wired) -> WebhookSecretOut:
    """From now on it is told of what it asks for. The answer has its secret, which is not shown again."""
    new = NewHook(_checked_url(services, body.url), _checked_kinds(body.kinds), body.description)
    hook, secret = await hook_endpoints.create_hook(services.db, caller.tenant, caller.actor, services.keys, new)
    _log.info("hook_created", hook=hook.id, by=caller.actor)
    return WebhookSecretOut(webhook=WebhookOut.of(hook), secret=secret)


@router.get("/v1/admin/webhooks", operation_id="listWebhooks", summary="List endpoints", responses=documented(*_ALWAYS))
async def listing(caller: Admin, db: Db) -> WebhooksOut:
    """The tenant's, oldest first."""
    return WebhooksOut(webhooks=[WebhookOut.of(one) for one in await hook_endpoints.list_hooks(db, caller.tenant)])


@router.get(
    "/v1/admin/webhooks/{webhook_id}",
    operation_id="getWebhook",
    summary="Read an endpoint",
    responses=documented(*_ALWAYS),
)
async def one(webhook_id: HookPath, caller: Admin, db: Db) -> WebhookOut:
    """Where it is, what it asks for, and whether it works."""
    return WebhookOut.of(await hook_endpoints.read_hook(db, caller.tenant, _hook(webhook_id)))


@router.patch(
    "/v1/admin/webhooks/{webhook_id}",
    operation_id="changeWebhook",
    summary="Change an endpoint",
    responses=documented(*_WITH_BODY),
)
async def change(webhook_id: HookPath, body: WebhookPatch, caller: Admin, services: Wired) -> WebhookOut:
    """Changes the fields that are sent. `enabled: true` also begins anew with one that was disabled for failing."""
    changes = HookChanges(
        _checked_url(services, body.url) if body.url is not None else None,
        _checked_kinds(body.kinds) if body.kinds is not None else None,
        body.description,
        body.enabled,
    )
    hook = _hook(webhook_id)
    return WebhookOut.of(await hook_endpoints.change_hook(services.db, caller.tenant, caller.actor, hook, changes))


@router.delete(
    "/v1/admin/webhooks/{webhook_id}",
    operation_id="deleteWebhook",
    summary="Delete an endpoint",
    status_code=204,
    responses=documented(*_ALWAYS),
)
async def delete(webhook_id: HookPath, caller: Admin, db: Db) -> None:
    """Nothing more is sent to it, not even what waits. Its secrets are forgotten."""
    await hook_endpoints.delete_hook(db, caller.tenant, caller.actor, _hook(webhook_id))
    _log.info("hook_deleted", hook=webhook_id, by=caller.actor)


@router.post(
    "/v1/admin/webhooks/{webhook_id}/secret",
    operation_id="rotateWebhookSecret",
    summary="Replace an endpoint's secret",
    responses=documented(*_WITH_BODY),
)
async def rotate(
    webhook_id: HookPath, caller: Admin, services: Wired, body: RotateIn | None = None
) -> WebhookSecretOut:
    """Gives it a new secret. For a while, the one before signs too: change yours in that time."""
    keep = timedelta(hours=(body or RotateIn()).keep_hours)
    hook, secret = await hook_endpoints.rotate_hook(
        services.db, caller.tenant, caller.actor, services.keys, _hook(webhook_id), keep
    )
    _log.info("hook_secret_rotated", hook=webhook_id, by=caller.actor)
    return WebhookSecretOut(webhook=WebhookOut.of(hook), secret=secret)


@router.post(
    "/v1/admin/webhooks/{webhook_id}/test",
    operation_id="testWebhook",
    summary="Send a test message",
    status_code=202,
    responses=documented(*_ALWAYS, Conflict),
)
async def test(webhook_id: HookPath, caller: Admin, db: Db) -> TestSentOut:
    """A message of the kind `webhook.test`, signed and sent like any other. Its delivery says what came of it."""
    delivery = HookDeliveryId(str(uuid.uuid4()))
    await hook_history.send_test(db, caller.tenant, _hook(webhook_id), delivery)
    return TestSentOut(delivery_id=delivery)


@router.get(
    "/v1/admin/webhooks/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    summary="List deliveries",
    responses=documented(*_ALWAYS),
)
async def deliveries(
    webhook_id: HookPath, caller: Admin, db: Db, query: Annotated[DeliveriesQuery, Query()]
) -> DeliveriesOut:
    """What was sent, and what came of it: newest first, a page at a time."""
    hook = (await hook_endpoints.read_hook(db, caller.tenant, _hook(webhook_id))).id
    before = HookDeliveryId(query.before) if query.before else None
    found = await hook_history.list_deliveries(
        db, caller.tenant, hook, status=query.status, before=before, limit=query.limit
    )
    return DeliveriesOut.of(found, query.limit)


@router.post(
    "/v1/admin/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    operation_id="replayDelivery",
    summary="Send a delivery once more",
    status_code=202,
    responses=documented(*_ALWAYS, Conflict),
)
async def replay(webhook_id: HookPath, delivery_id: DeliveryPath, caller: Admin, db: Db) -> ReplayedDeliveriesOut:
    """With the same `webhook-id` and body, whatever became of it before."""
    delivery = HookDeliveryId(as_checkout_id(delivery_id))
    await hook_history.replay_delivery(db, caller.tenant, caller.actor, _hook(webhook_id), delivery)
    return ReplayedDeliveriesOut(replayed=1)


@router.post(
    "/v1/admin/webhooks/{webhook_id}/replay",
    operation_id="replayFailedDeliveries",
    summary="Send all that failed once more",
    status_code=202,
    responses=documented(*_ALWAYS, Conflict),
)
async def replay_failed(webhook_id: HookPath, caller: Admin, db: Db) -> ReplayedDeliveriesOut:
    """The oldest first, at most 1,000: repeat it until it answers 0."""
    count = await hook_history.replay_failed(db, caller.tenant, caller.actor, _hook(webhook_id))
    return ReplayedDeliveriesOut(replayed=count)


def _hook(text: str) -> HookId:
    """What the path names. Raises NotFound for what is no id."""
    return HookId(as_checkout_id(text))


def _checked_url(services: Services, url: str) -> str:
    try:
        return services.checked_hook_url(url)
    except ValueError as error:
        field = {"field": "url", "message": str(error), "fix": "Send an https address on a public host"}
        raise Invalid("`url` is not valid.", errors=[field]) from None


def _checked_kinds(kinds: list[HookKind]) -> list[HookKind]:
    if HookKind.TEST in kinds:
        field = {"field": "kinds", "message": "Nobody can ask for it", "fix": f"Leave {HookKind.TEST.value} out"}
        raise Invalid("`kinds` is not valid.", errors=[field])
    return list(dict.fromkeys(kinds))
