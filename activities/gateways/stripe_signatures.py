"""Stripe's webhook signatures, checked by Stripe's own library over the bytes as they came.

The library refuses what is too old by the clock of this machine, and takes what comes from the future; so it is asked
about the signature only, and the time is compared here, either way. Its parser takes more than Stripe ever sends
(repeated times, spaces, other digits), so a header must first look as Stripe's do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import stripe

from activities.gateways.standard_webhooks import TOLERANCE_SECONDS
from domain.errors import InvalidSignature

_HEADER = re.compile(r"t=([0-9]{1,12})(?:,v[0-9]=[0-9a-f]{64}){1,16}")
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]{16,200}")
_MOST_SECRETS = 4


def secrets_from(text: str) -> Sequence[str]:
    """One signing secret, or several with spaces between them while one is being replaced.

    Raises ValueError, which does not show them.
    """
    secrets = text.split()
    if not 1 <= len(secrets) <= _MOST_SECRETS or not all(_SECRET.fullmatch(secret) for secret in secrets):
        raise ValueError(f"a signing secret of Stripe's begins with whsec_; 1 to {_MOST_SECRETS} with spaces between")
    return secrets


def verify(secrets: Sequence[str], header: str, body: bytes, now: datetime) -> None:
    """Raises InvalidSignature, and nothing else, unless one of the secrets signed this at most 300 s from `now`."""
    shape = _HEADER.fullmatch(header)
    if shape is None or abs(now.timestamp() - int(shape[1])) > TOLERANCE_SECONDS:
        raise InvalidSignature
    if not any(_made(secret, header, body) for secret in secrets):
        raise InvalidSignature


def _made(secret: str, header: str, body: bytes) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, header, secret)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True
