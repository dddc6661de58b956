"""One vocabulary of errors, each with a stable code.

Two translators turn them into what the outside sees: `api/problems.py` (HTTP) and `activities/errors.py` (Temporal).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class HoldfastError(Exception):
    """The root of every error we raise on purpose.

    `code` is stable and machine-readable, `status` the HTTP status it answers with, `detail` a sentence that names the
    field and the fix, `extra` further members of the problem document (RFC 9457), `retry_after` seconds.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after = retry_after
        self.extra: Mapping[str, Any] = extra


class BadRequest(HoldfastError):
    """The request cannot be read: bad JSON, or a header that must be there is missing."""

    code, status, title = "bad_request", 400, "The request cannot be read"


class BadJson(BadRequest):
    """The body is not JSON, or JSON that different readers would read differently."""

    code, title = "bad_json", "The body is not good JSON"


class HostNotAllowed(BadRequest):
    """The Host header names none of the hosts that this installation answers for."""

    code, title = "host_not_allowed", "This host is not served here"


class PreflightRefused(BadRequest):
    """A browser asked whether a page may call (CORS); its origin, method or headers are not allowed."""

    code, title = "preflight_refused", "A page of this origin may not call like this"


class BodyTooSlow(BadRequest):
    """The body did not arrive in time."""

    code, status, title = "body_too_slow", 408, "The body took too long to arrive"


class MissingIdempotencyKey(BadRequest):
    """Start, extend, confirm, cancel and their like need an Idempotency-Key."""

    code, title = "idempotency_key_missing", "An Idempotency-Key header is required"


class Unauthorized(HoldfastError):
    """No token, or one that is not good. The answer never says which rule it broke."""

    code, status, title = "unauthorized", 401, "A valid access token is required"


class InvalidSignature(HoldfastError):
    """A webhook whose signature, timestamp or headers do not verify."""

    code, status, title = "invalid_signature", 401, "The webhook's signature is not valid"


class Forbidden(HoldfastError):
    """A good token without the scope this route asks for."""

    code, status, title = "forbidden", 403, "The token lacks the scope for this"


class NotFound(HoldfastError):
    """Missing, or not the caller's: the two look the same."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(HoldfastError):
    """The path exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class Conflict(HoldfastError):
    """The thing is not in a state in which this can be done."""

    code, status, title = "conflict", 409, "Not possible in the present state"


class InsufficientStock(Conflict):
    """Sold out. `shortages` names every short line."""

    code, title = "insufficient_stock", "Not enough stock"


class PriceChanged(Conflict):
    """`expected_total` differs from the total now; `total` carries the new one."""

    code, title = "price_changed", "The price has changed"


class CartProcessing(Conflict):
    """A checkout holds the cart (`checkout_id`), or an administrator has set it so: it cannot be changed now."""

    code, title = "cart_processing", "The cart is being processed"


class CartEmpty(Conflict):
    """There is nothing in the cart to start a checkout from."""

    code, title = "cart_empty", "The cart is empty"


class CartRefused(Conflict):
    """A change of the cart that cannot be made. `products` names each one that failed, why, and what is available."""

    code, title = "cart_refused", "The cart cannot be changed so"


class AlreadyInCart(CartRefused):
    """The product is sold once per cart, and is there already."""

    code, title = "already_in_cart", "The product is in the cart already"


class ProductExists(Conflict):
    """There is a product with the id that was chosen for a new one."""

    code, title = "product_exists", "The product exists already"


class ProductHeld(Conflict):
    """Live holds keep `reserved` units of the product: it cannot be deleted now."""

    code, title = "product_held", "The product is held"


class EventExists(Conflict):
    """There is an event with the id that was chosen for a new one."""

    code, title = "event_exists", "The event exists already"


class ZoneExists(Conflict):
    """There is a zone with the id that was chosen for a new one."""

    code, title = "zone_exists", "The zone exists already"


class ZoneCommitted(Conflict):
    """Tickets of the zone are held (`reserved`) or `sold`: it cannot be withdrawn from sale."""

    code, title = "zone_committed", "Tickets of the zone are held or sold"


class SeatsCommitted(Conflict):
    """Some of the seats are held or sold (`held`, `sold`: their ids): none was blocked."""

    code, title = "seats_committed", "Seats are held or sold"


class TotalBelowCommitted(Conflict):
    """A stock total below what is `reserved` and `sold`."""

    code, title = "total_below_committed", "The total is below what is reserved and sold"


class CurrencyInUse(Conflict):
    """The tenant has checkouts in its currency: it cannot have another one."""

    code, title = "currency_in_use", "The currency is in use"


class AlreadyConfirmed(Conflict):
    """The checkout is sold: it cannot be cancelled or extended, and takes no second payment."""

    code, title = "already_confirmed", "The checkout is already confirmed"


class CheckoutRefused(Conflict):
    """The checkout was refused at its start and holds nothing."""

    code, title = "checkout_refused", "The checkout was refused"


class PaymentNotCaptured(Conflict):
    """The gateway says the payment is not (yet) captured; the hold stays."""

    code, title = "payment_not_captured", "The payment is not captured"


class PaymentMismatch(Conflict):
    """The payment's checkout, amount or currency is not this checkout's."""

    code, title = "payment_mismatch", "The payment does not belong to this checkout"


class GatewayRefused(Conflict):
    """The payment gateway understood and said no; asking again gives the same answer."""

    code, title = "gateway_refused", "The payment gateway refused"


class GatewayNotConfigured(GatewayRefused):
    """The shop has not set what this gateway needs; `detail` names it."""

    code, title = "gateway_not_configured", "The shop has not set this gateway up"


class PaymentInFlight(Conflict):
    """A payment of the checkout's total is open at its gateway: end it first. Or it is being made, and cannot be ended.

    `payments` names those that are open; `payment_status` says how one that was to be ended stands.
    """

    code, title = "payment_in_flight", "A payment is in flight"


class NothingToPay(Conflict):
    """The checkout's total is 0."""

    code, title = "nothing_to_pay", "There is nothing to pay"


class PaymentRefunded(Conflict):
    """This payment was (or is being) given back; it cannot make an order. `reason` says why."""

    code, title = "payment_refunded", "The payment is refunded"


class RefundExceedsOrder(Conflict):
    """More than is `left` of the order to refund, in minor units."""

    code, title = "refund_exceeds_order", "That is more than is left of the order"


class ReturnExceedsOrder(Conflict):
    """More than is `left` of a `line` of the order to give back; or nothing is."""

    code, title = "return_exceeds_order", "That is more than the order has left to give back"


class ManualPaymentExists(Conflict):
    """A manual payment of this name was recorded for the checkout before: `payment_id`."""

    code, title = "manual_payment_exists", "This payment was recorded before"


class TicketsNotReady(Conflict):
    """The order's tickets are not made yet; `Retry-After` says when to ask again."""

    code, title = "tickets_not_ready", "The tickets are not ready yet"


class Gone(HoldfastError):
    """The hold is over (expired or cancelled): nothing can be changed any more."""

    code, status, title = "hold_over", 410, "The hold is over"


class TooLarge(HoldfastError):
    """The body is larger than the limit."""

    code, status, title = "body_too_large", 413, "The body is too large"


class UnsupportedMediaType(HoldfastError):
    """The body is not application/json."""

    code, status, title = "unsupported_media_type", 415, "Send application/json"


class Invalid(HoldfastError):
    """Well-formed, but not valid. `errors` lists field and fix."""

    code, status, title = "invalid", 422, "The request is not valid"


class IdempotencyKeyReused(Invalid):
    """The same Idempotency-Key came with another body."""

    code, title = "idempotency_key_reused", "This Idempotency-Key was used with another body"


class TooManyRequests(HoldfastError):
    """A limit was hit; `Retry-After` says when it frees."""

    code, status, title = "too_many_requests", 429, "Too many requests"


class LimitReached(TooManyRequests):
    """A tenant's limit on what one buyer or address may hold: `limit` says which, `frees_at` when it frees."""

    code, title = "limit_reached", "A limit of the shop is reached"


class Unavailable(HoldfastError):
    """A dependency is down, the engine saturated, or a lock was not had in time. The same request may be sent again."""

    code, status, title = "unavailable", 503, "Temporarily unavailable"

    def __init__(self, detail: str = "", *, retry_after: int = 1, **extra: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **extra)


class NotReady(Unavailable):
    """This process cannot serve yet. `missing` names what it waits for."""

    code, title = "not_ready", "Not ready to serve"


class GatewayUnavailable(Unavailable):
    """The payment gateway is down, slow or not making sense. It may have acted: ask again with the same key."""

    code, title = "gateway_unavailable", "The payment gateway does not answer"


class MissingTenant(HoldfastError):
    """A database function was called without a tenant: a fault of ours, never of a caller's."""

    code, title = "missing_tenant", "No tenant was given"
