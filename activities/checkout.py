"""The activities of a checkout: one transaction each."""

from __future__ import annotations

from temporalio import activity

from activities import names
from activities.errors import translated
from activities.fulfilment.starting import Fulfilling
from db.database import Database
from db.extend import extend
from db.lines import change_lines
from db.reserve import reserve
from db.settle import settle
from domain.fulfilment import OrderRef
from domain.messages import Changed, ExtendRequest, LinesRequest, Ruling, Settled, SettleRequest, StartCheckout, Started


class CheckoutActivities:
    """Reserve, settle, extend, change the lines."""

    def __init__(self, db: Database, fulfilling: Fulfilling) -> None:
        self._db = db
        self._fulfilling = fulfilling

    @activity.defn(name=names.RESERVE)
    @translated
    async def reserve(self, start: StartCheckout) -> Started:
        """Hold the lines; a repeat finds what the first did."""
        return await reserve(self._db, start)

    @activity.defn(name=names.SETTLE)
    @translated
    async def settle(self, request: SettleRequest) -> Settled:
        """Bring the checkout to its end, if its row agrees. The buyer does not wait for what follows a sale."""
        settled = await settle(self._db, request)
        if settled.ruling is Ruling.ORDER and settled.order_id is not None:
            self._fulfilling.start_beside(OrderRef(request.ref.tenant, settled.order_id))
        return settled

    @activity.defn(name=names.EXTEND)
    @translated
    async def extend(self, request: ExtendRequest) -> Settled:
        """Give the hold more time, once per request id."""
        return await extend(self._db, request)

    @activity.defn(name=names.CHANGE_LINES)
    @translated
    async def change_lines(self, request: LinesRequest) -> Changed:
        """Add lines to the hold, all or nothing, or take one out, once per request id."""
        return await change_lines(self._db, request)
