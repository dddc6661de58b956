"""Which tenant a request without a token is for: the one the host name's first label names, else the default."""

from __future__ import annotations

import re

from db.database import Database
from db.users import tenant_exists
from domain.ids import TenantId

_FIRST_LABEL = re.compile(r"([a-z0-9][a-z0-9-]{0,39})\.[a-z0-9.-]*[a-z][a-z0-9.-]*(?::[0-9]{1,5})?")
"""`shop` of `shop.example.com:8000`; nothing of `localhost` or of an IP address."""


def tenant_label(host: str) -> TenantId | None:
    """The tenant that a Host header may name."""
    match = _FIRST_LABEL.fullmatch(host.lower())
    return TenantId(match.group(1)) if match else None


async def tenant_of_host(db: Database, host: str, default: TenantId) -> TenantId:
    """The tenant of the host name, for example `demo-quick` of `demo-quick.localhost`; `default` without one."""
    named = tenant_label(host)
    return named if named is not None and await tenant_exists(db, named) else default
