"""Lines of a live hold: add some, all or nothing, or take one out."""

from __future__ import annotations

from db.database import Database
from db.lines_attempt import Attempt
from db.overdue import overdue_of_owner, overdue_on
from db.settle import settle
from db.together import wait_for
from domain.messages import Changed, CheckoutRef, LinesRequest, SettleRequest, Wanted

MAX_ROUNDS = 4
"""Tries before a refusal stands: one after waiting for seats, the others after overdue holds were ended."""


async def change_lines(db: Database, request: LinesRequest) -> Changed:
    """Change the lines of a live hold, once per `request_id`; a repeat finds what the first did, refusals included.

    Added lines are locked now, at the price of now, and the hold ends at the earliest its hold time from now, within
    its maximum. Taking the last line out cancels the checkout. Two round trips, however many lines; more to pick seats
    together, to refuse, and to cancel.
    """
    tenant, waited = request.ref.tenant, False
    for _ in range(MAX_ROUNDS):
        attempt = Attempt(request)
        changed = await db.transact(tenant, attempt.work)
        if attempt.decided:
            return changed
        contested = {zone: found.contested for zone, found in attempt.lacking.items() if found.contested}
        if contested and not waited:
            waited = True
            for zone, places in contested.items():
                await wait_for(db, tenant, zone, places)
        elif not await _free_overdue(db, request):
            break
    return await db.transact(tenant, Attempt(request, final=True).work)


async def _free_overdue(db: Database, request: LinesRequest) -> bool:
    """Expire the overdue holds on the asked items, and of this owner; whether there were any."""
    ref = request.ref
    overdue = await overdue_on(db, ref.tenant, request.add) or await overdue_of_owner(db, ref.tenant, ref.checkout_id)
    for checkout in overdue:
        await settle(db, SettleRequest(CheckoutRef(ref.tenant, checkout), Wanted.EXPIRE))
    return bool(overdue)
