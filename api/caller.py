"""Who calls, as a verified token says."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from domain.ids import Actor, BuyerKey, SessionId, TenantId, session_key

TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
SUBJECT = re.compile(r"[!-~]{1,128}")


class Scope(StrEnum):
    """What a token may do."""

    BUYER = "buyer"
    SERVICE = "service"
    ADMIN = "admin"
    OPERATOR = "operator"


class CallerKind(StrEnum):
    """Whom a token stands for: somebody who logged in, a program, or an anonymous buyer."""

    USER = "user"
    SERVICE = "service"
    SESSION = "session"


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes among these names; a name that is none gives nothing."""
    return frozenset(Scope(name) for name in names if name in _SCOPES)


def kind_of(scopes: Collection[Scope]) -> CallerKind:
    """Of a token that is not an anonymous buyer's."""
    return CallerKind.SERVICE if Scope.SERVICE in scopes else CallerKind.USER


def buyer_key(kind: CallerKind, subject: str) -> BuyerKey:
    """In whose name carts, checkouts and orders are."""
    return BuyerKey(f"{kind}:{subject}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as a verified token says. `expires_at` in seconds since 1970."""

    tenant: TenantId
    subject: str
    scopes: frozenset[Scope]
    expires_at: int
    jti: str = ""
    """The token's own id."""
    kind: CallerKind = CallerKind.USER
    sid: str = ""
    """The login or session that the token is of; empty for a program's token."""
    origin: SessionId | None = None
    """The anonymous session that this login took over."""

    @property
    def buyer_key(self) -> BuyerKey:
        """Whose carts, checkouts and orders these are: a user's or session's own, or all that a service started."""
        return buyer_key(self.kind, self.subject)

    @property
    def key_scope(self) -> BuyerKey:
        """In whose name Idempotency-Keys are: still the session's after its login, so that a repeat finds its hold."""
        return session_key(self.origin) if self.origin else self.buyer_key

    @property
    def actor(self) -> Actor:
        """How the audit log names the caller."""
        return Actor(self.buyer_key)


_SCOPES = frozenset(Scope)
