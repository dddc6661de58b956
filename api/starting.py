"""Starting a checkout: look first, then ask the engine, then answer from the row."""

from __future__ import annotations

from datetime import timedelta

from activities.delivery import Delivery
from api.checkout_models import StartIn
from api.checkout_views import cart_processing, insufficient_stock, limit_reached, price_changed, refusal
from api.early_events import deliver_early
from api.engine import Engine, Outlook, deadline_after
from api.line_models import summed
from db.checkouts import CheckoutView
from db.database import Database
from db.inbox import events_waiting_for
from db.line_metadata import remember_metadata
from db.start_look import StartLook, look_before_start
from db.started import read_started
from domain.checkout import CheckoutStatus
from domain.errors import CartEmpty, IdempotencyKeyReused, NotFound, Unavailable
from domain.ids import BuyerKey, CheckoutId, TenantId
from domain.messages import StartCheckout, StartStatus


async def start_checkout(
    db: Database,
    engine: Engine,
    delivery: Delivery,
    tenant: TenantId,
    buyer: BuyerKey,
    checkout: CheckoutId,
    body: StartIn,
    fingerprint: str,
    address: str | None,
) -> CheckoutView:
    """The held checkout that this request made, now or when it came before.

    `address`: a keyed hash of the caller's, None for a service, which calls for many. Raises InsufficientStock,
    PriceChanged, LimitReached, CartEmpty or CartProcessing when it is refused, IdempotencyKeyReused when
    the key came with another body, Unavailable when nothing is known of it yet and the same request may be sent again.
    """
    lines, metadata = summed(body.lines) if body.lines is not None else (None, None)
    look = await look_before_start(db, tenant, checkout, buyer, lines, address)
    if look is None:
        raise NotFound("There is no such tenant.")
    if look.existing is not None:
        _require_same(look.existing, fingerprint)
        if look.existing.row["status"] != CheckoutStatus.NEW:
            # Whoever made the row may have died before it looked for them.
            await deliver_early(delivery, tenant, await events_waiting_for(db, tenant, checkout))
            return _held_or_refused(look.existing)
    else:
        _refuse_early(look, body)
    if metadata is not None:
        await remember_metadata(db, tenant, checkout, fingerprint, metadata)
    start = StartCheckout(
        tenant=tenant,
        checkout_id=checkout,
        buyer=buyer,
        lines=lines or [],
        fingerprint=fingerprint,
        deadline=deadline_after(look.now),
        expected_total=body.expected_total,
        from_cart=lines is None,
        address=address if look.limits_addresses else None,
    )
    end = look.now + timedelta(seconds=look.hold_seconds)
    started = await engine.start(start, Outlook(look.lines, look.total, look.currency, end))
    if started.start is StartStatus.NOT_ATTEMPTED:
        raise Unavailable("The checkout was not started in time; nothing was held. Send the same request again.")
    return await _answered_by_row(db, delivery, start)


def _refuse_early(look: StartLook, body: StartIn) -> None:
    """What cannot succeed costs no workflow. This answer is not stored: the same key may try again."""
    if look.processing:
        raise cart_processing(look.held_by)
    if not look.lines:
        raise CartEmpty("Put something in the cart first, or name the lines.")
    if look.limit:
        raise limit_reached(look.limit, look.now)
    if look.shortages:
        raise insufficient_stock(look.shortages)
    if body.expected_total not in (None, look.total):
        raise price_changed(look.total)


async def _answered_by_row(db: Database, delivery: Delivery, start: StartCheckout) -> CheckoutView:
    view, early = await read_started(db, start.tenant, start.checkout_id, buyer=start.buyer)
    await deliver_early(delivery, start.tenant, early)
    if view is None:
        raise Unavailable
    _require_same(view, start.fingerprint)
    return _held_or_refused(view)


def _held_or_refused(view: CheckoutView) -> CheckoutView:
    if view.row["status"] == CheckoutStatus.REFUSED:
        raise refusal(view.row["refusal"], view.row["now"])
    return view


def _require_same(view: CheckoutView, fingerprint: str) -> None:
    if view.row["fingerprint"] != fingerprint:
        raise IdempotencyKeyReused("This key named another request; use a new key for a new checkout.")
