"""What a ticket's QR code says, and how it is written: compact, so that the code stays large enough to be read.

    HF1.<payload>.<signature>        both in base64url without padding (RFC 4648, section 5)

The payload is a JSON array: [key id, tenant, order, line, unit, units, what, event, issued]. The order is its UUID in
base64url (22 characters), `what` is `p38`, `z4` or `s17` (a product, zone or seat), `event` its number or 0, `issued`
seconds since 1970. The signature is Ed25519 (RFC 8032) over "HF1." and the payload as it is written.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from dataclasses import dataclass

from domain.ids import OrderId, TenantId

PREFIX = "HF1"
MAX_TOKEN = 1_000
"""Characters; the longest that we make has fewer than 300."""
SIGNATURE_BYTES = 64
_WHAT = re.compile(r"[pzs][1-9][0-9]{0,18}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")


class BadToken(ValueError):
    """Not a ticket of ours, or one that was changed."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket or voucher: the `unit`-th of a line's units, counted from 1; or 0: good for `units` of them."""

    tenant: TenantId
    order_id: OrderId
    line: int
    """Its place in the order, from 1."""
    unit: int
    units: int
    what: str
    event: int
    issued: int


def payload_of(ticket: Ticket, key_id: str) -> str:
    """The payload as it stands in the token."""
    order = _encoded(uuid.UUID(ticket.order_id).bytes)
    fields = [key_id, ticket.tenant, order, ticket.line, ticket.unit, ticket.units, ticket.what, ticket.event]
    return _encoded(json.dumps([*fields, ticket.issued], separators=(",", ":")).encode())


def signed_part(payload: str) -> bytes:
    """What is signed: the version too, so that a signature of one version is none of another."""
    return f"{PREFIX}.{payload}".encode()


def token_of(payload: str, signature: bytes) -> str:
    """The whole token."""
    return f"{PREFIX}.{payload}.{_encoded(signature)}"


def split_token(token: str) -> tuple[str, bytes]:
    """(payload, signature) as they are written. Raises BadToken for what has not this form."""
    parts = token.split(".") if len(token) <= MAX_TOKEN and token.isascii() else []
    if len(parts) != 3 or parts[0] != PREFIX:
        raise BadToken("this is not a ticket of Holdfast")
    signature = _decoded(parts[2])
    if len(signature) != SIGNATURE_BYTES:
        raise BadToken("its signature has the wrong length")
    return parts[1], signature


def read_payload(payload: str) -> tuple[str, Ticket]:
    """(key id, ticket). Raises BadToken for anything that we would not have written."""
    try:
        key_id, tenant, order, line, unit, units, what, event, issued = json.loads(_decoded(payload))
        texts, numbers = (key_id, tenant, order, what), (line, unit, units, event, issued)
        if not all(type(one) is str for one in texts) or not all(type(one) is int and one >= 0 for one in numbers):
            raise BadToken("its fields are of the wrong types")
        if not (_KEY_ID.fullmatch(key_id) and _TENANT.fullmatch(tenant) and _WHAT.fullmatch(what)):
            raise BadToken("its fields are not well-formed")
        ticket = Ticket(TenantId(tenant), _order(order), line, unit, units, what, event, issued)
    except (ValueError, TypeError, RecursionError) as error:
        raise error if isinstance(error, BadToken) else BadToken("its payload cannot be read") from None
    if payload_of(ticket, key_id) != payload:
        raise BadToken("its payload is not as we write it")
    return key_id, ticket


def _order(text: str) -> OrderId:
    return OrderId(str(uuid.UUID(bytes=_decoded(text))))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Strictly: one way to write each value, so that no two tokens are the same ticket."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise BadToken("it is not base64url") from None
    if _encoded(raw) != text:
        raise BadToken("it is not base64url")
    return raw
