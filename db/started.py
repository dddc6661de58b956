"""Reading a checkout that has just been started, with the payment events that were there before it."""

from __future__ import annotations

from db.checkouts import CheckoutView, view_of, view_statements
from db.database import Database
from db.inbox import StoredEvent, events_of, waiting_statement
from domain.ids import BuyerKey, CheckoutId, TenantId


async def read_started(
    db: Database, tenant: TenantId, checkout: CheckoutId, *, buyer: BuyerKey | None
) -> tuple[CheckoutView | None, list[StoredEvent]]:
    """As `read_checkout`, and the events of the checkout that nobody has been handed. One round trip."""
    *view, waiting = await db.run(tenant, *view_statements(tenant, checkout), waiting_statement(tenant, checkout))
    found = view_of(view)
    return found if found is not None and buyer in (None, found.row["buyer_key"]) else None, events_of(waiting)
