"""Payment events that came before their checkout was known: handed over as soon as it is."""

from __future__ import annotations

from collections.abc import Iterable

from structlog import stdlib

from activities.delivery import Delivery
from db.inbox import StoredEvent
from domain.errors import Unavailable
from domain.ids import TenantId

_log = stdlib.get_logger("webhooks")


async def deliver_early(delivery: Delivery, tenant: TenantId, events: Iterable[StoredEvent]) -> None:
    """Hand them over, oldest first. The start that found them stands whether or not that can be done now: those that
    are left, the consistency check hands over."""
    for event in events:
        try:
            handed = await delivery.deliver(tenant, event)
        except Unavailable:
            _log.warning("early_event_left", event_id=event.event_id, payment=event.payment_id)
            return
        _log.info("early_event", event_id=event.event_id, payment=event.payment_id, handed=handed)
