"""Where the buyer of a checkout can be written to."""

from __future__ import annotations

from fastapi import APIRouter

from api.contact_models import ContactIn, ContactOut
from api.deps import Buyer, Db
from api.models import as_checkout_id
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from api.routes.checkouts import READING, CheckoutPath
from db.contacts import put_contact
from domain.checkout import CheckoutStatus
from domain.errors import CheckoutRefused, Gone, NotFound

router = APIRouter(route_class=StrictRoute, tags=["checkouts"])


@router.put(
    "/v1/checkouts/{checkout_id}/contact",
    operation_id="putContact",
    summary="Say where the buyer can be written to",
    responses=documented(*READING, *JSON_BODY, CheckoutRefused, Gone),
)
async def put(checkout_id: CheckoutPath, body: ContactIn, caller: Buyer, db: Db) -> ContactOut:
    """While the checkout is held, or once it is confirmed: then what is sent from now on goes there. A user who has
    logged in is written to at his own e-mail if none is given here. It is deleted 90 days after it was last set."""
    status = await put_contact(db, caller.tenant, as_checkout_id(checkout_id), caller.buyer_key, body.as_contact())
    if status is None:
        raise NotFound
    if status in {CheckoutStatus.NEW, CheckoutStatus.REFUSED}:
        raise CheckoutRefused("It was refused at its start and holds nothing.")
    if status not in {CheckoutStatus.HELD, CheckoutStatus.CONFIRMED}:
        raise Gone("The hold is over; start a new checkout.", checkout_status=status)
    return ContactOut(email=body.email, phone=body.phone, name=body.name, language=body.language)
