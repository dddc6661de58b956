"""The shapes of payments that are started here, at HTTP."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from api.checkout_models import CheckoutOut, GatewayField, PaymentState
from api.models import Answer, Minor, StrictModel

MAX_URL = 2000
_THIS_MACHINE = ("localhost", "127.0.0.1")

_NO_URL = "it is no URL: send one as https://shop.example.com/thanks"


def _returnable(url: str) -> str:
    try:
        parts, host = urlsplit(url), urlsplit(url).hostname
    except ValueError:
        raise ValueError(_NO_URL) from None
    if host is None or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(_NO_URL)
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a name or a password in it: send one without")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _THIS_MACHINE):
        raise ValueError("only https (or http on this machine): send one as https://shop.example.com/thanks")
    return url


ReturnUrl = Annotated[
    str,
    Field(
        max_length=MAX_URL,
        description="Where the gateway's page sends the buyer back to, if it has a page. HTTPS (HTTP on localhost).",
        examples=["https://shop.example.com/thanks"],
    ),
    AfterValidator(_returnable),
]


class StartPaymentIn(StrictModel):
    """How the buyer wants to pay. The amount is the checkout's total; nobody sends it."""

    gateway: GatewayField | None = Field(default=None, description="May be left out where there is only one.")
    return_url: ReturnUrl | None = None


class PaymentStartedOut(Answer):
    """A payment that waits for its buyer, and what the browser needs to pay it. A repeat answers it as it is now."""

    payment_id: str = Field(examples=["pay_3f9c2a"])
    gateway: str = Field(examples=["sandbox"])
    status: PaymentState
    amount: Minor
    currency: str = Field(examples=["COP"])
    url: str | None = Field(description="The gateway's own page, where it has one. Null once it cannot be paid.")
    client_secret: str | None = Field(description="For the gateway's own script. Null where it has none.")
    checkout: CheckoutOut
