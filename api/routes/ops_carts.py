"""Carts and the audit log, for those who look after a tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from structlog import stdlib

from api.deps import Administration, Db
from api.ops_models import (
    AuditPage,
    AuditQuery,
    CartsCleanedOut,
    CartStatusIn,
    CartStatusOut,
    audit_page,
    place_in_audit,
)
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from db.audit_reading import AuditFilter, read_audit
from db.cart_admin import set_status
from db.cart_cleaning import clean_carts
from domain.cart import CartStatus
from domain.errors import (
    BadRequest,
    CartProcessing,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from domain.ids import Actor, CartId

router = APIRouter(route_class=StrictRoute, tags=["operations"])
_ALWAYS = (BadRequest, Unauthorized, Forbidden, Invalid, Unavailable)
_WITH_BODY = (*_ALWAYS, *JSON_BODY)
_log = stdlib.get_logger("carts")


@router.post(
    "/v1/ops/carts/status",
    operation_id="setCartStatus",
    summary="Set a cart's status",
    responses=documented(*_WITH_BODY, NotFound, CartProcessing),
)
async def set_cart_status(body: CartStatusIn, caller: Administration, db: Db) -> CartStatusOut:
    """By its owner's e-mail. A cart that a live checkout holds cannot be freed so: cancel the checkout."""
    done = await set_status(db, caller.tenant, caller.actor, body.email, CartStatus(body.status))
    _log.info("cart_status_set", cart=done.cart_id, status=done.status.value, before=done.before.value)
    return CartStatusOut(cart_id=done.cart_id, status=done.status)


@router.post(
    "/v1/ops/carts/clean",
    operation_id="cleanCarts",
    summary="Clean all carts",
    responses=documented(*_ALWAYS),
)
async def clean(caller: Administration, db: Db) -> CartsCleanedOut:
    """Removes from the tenant's carts every product that is gone, off sale, sold out or without a price. Carts in
    processing are skipped. May be repeated."""
    cleaned = await clean_carts(db, caller.tenant, caller.actor)
    reasons = {reason.value: count for reason, count in cleaned.reasons.items()}
    _log.info("carts_cleaned", carts=cleaned.carts, lines=cleaned.lines, reasons=reasons)
    return CartsCleanedOut(carts_cleaned=cleaned.carts, lines_removed=cleaned.lines)


@router.get(
    "/v1/ops/audit",
    operation_id="readAudit",
    summary="Read the audit log",
    responses=documented(*_ALWAYS),
)
async def audit(caller: Administration, db: Db, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """The tenant's, newest first, a page at a time: of a cart, of an actor, of a time."""
    wanted = AuditFilter(
        CartId(query.cart) if query.cart else None,
        Actor(query.actor) if query.actor else None,
        query.since,
        query.until,
    )
    before = place_in_audit(query.before) if query.before else None
    return audit_page(await read_audit(db, caller.tenant, wanted, limit=query.limit, before=before), query.limit)
