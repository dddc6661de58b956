"""A tenant's administrator: a client of /v1/admin/products, over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from api.tokens import Scope
from domain.ids import Actor
from tests.support.buyers import as_json
from tests.support.checkouts import Rows
from tests.support.system import DEMO, System

LARGEST = 2**31 - 1
"""Units of stock."""
BAD_FIELDS: list[tuple[str, Any]] = [
    ("id", 0),
    ("id", -1),
    ("id", 2**53),
    ("id", "61"),
    ("name", ""),
    ("name", " "),
    ("name", " Mug"),
    ("name", "Mug "),
    ("name", "a\nb"),
    ("name", "a\u0085b"),
    ("name", "a\u2028b"),
    ("name", "a" * 201),
    ("name", None),
    ("name", 12),
    ("description", "a" * 4001),
    ("description", "a\u0007b"),
    ("description", None),
    ("price", -1),
    ("price", 10**12 + 1),
    ("price", "2000"),
    ("price", 20.5),
    ("price", True),
    ("price", None),
    ("offer_price", 0),
    ("offer_price", -5),
    ("offer_price", "1500"),
    ("available", 1),
    ("available", "true"),
    ("available", None),
    ("one_per_cart", 0),
    ("stock_total", -1),
    ("stock_total", LARGEST + 1),
    ("stock_total", 1.0),
    ("stock_total", None),
]
"""(field, a value it may not have)."""


class Administrator:
    """Calls /v1/admin/products with an administrator's token."""

    def __init__(self, system: System, subject: str = "boss") -> None:
        self.actor = Actor(f"user:{subject}")
        self._admin = system.admin
        self._http, self._headers = system.http, dict(system.buyer(DEMO, subject, Scope.ADMIN).headers)

    async def send(self, method: str, product: int | str = "", body: Any = None, **query: Any) -> httpx.Response:
        """A request about all products, or about one; its status is left to the caller."""
        path = "/v1/admin/products" + (f"/{product}" if product != "" else "")
        return await self._http.request(method, path, json=body, params=query, headers=self._headers)

    async def make(self, **body: Any) -> dict[str, Any]:
        """A product that must be created."""
        answer = await self.send("POST", body={"name": "Mug", "price": 2000, **body})
        assert answer.status_code == 201, answer.text
        return as_json(answer)

    async def audit(self) -> list[tuple[str, str, Any, Any]]:
        """(action, subject, before, after) of what this one did, oldest first."""
        rows = await Rows(self._admin).all("SELECT * FROM audit_log WHERE actor = %s ORDER BY id", self.actor)
        return [(row["action"], row["subject"], row["before"], row["after"]) for row in rows]
