"""Whoever sells tickets over HTTP: an administrator of events, and what buyers ask for."""

from __future__ import annotations

from typing import Any

import httpx

from api.tokens import Scope
from tests.support.buyers import Buyer, Json, as_json
from tests.support.system import DEMO, System


class BoxOffice:
    """Calls /v1/admin/events with an administrator's token."""

    def __init__(self, system: System, subject: str = "promoter") -> None:
        self._http, self._headers = system.http, dict(system.buyer(DEMO, subject, Scope.ADMIN).headers)

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request below /v1/admin; its status is left to the caller."""
        return await self._http.request(method, f"/v1/admin/{path}", json=body, headers=self._headers)

    async def event(self, **more: Any) -> int:
        """A new event's id."""
        answer = await self.send("POST", "events", {"name": "Concert", **more})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def stalls(self, event: int, rows: int, per_row: int, **more: Any) -> int:
        """A new numbered zone's id, with the rows A, B, …"""
        names = [chr(ord("A") + row) for row in range(rows)]
        parts = [{"row": name, "from": 1, "to": per_row} for name in names]
        return await self._zone(event, {"name": "Stalls", "kind": "numbered", "price": 5000, "rows": parts, **more})

    async def lawn(self, event: int, capacity: int, **more: Any) -> int:
        """A new general-admission zone's id."""
        return await self._zone(event, {"name": "Lawn", "kind": "general", "price": 3000, "capacity": capacity, **more})

    async def _zone(self, event: int, body: Json) -> int:
        answer = await self.send("POST", f"events/{event}/zones", body)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])


async def start(buyer: Buyer, *lines: Json, key: str | None = None) -> httpx.Response:
    """Start a checkout of these lines, as JSON has them."""
    return await buyer.post("/v1/checkouts", {"lines": list(lines)}, key)


async def hold(buyer: Buyer, *lines: Json) -> Json:
    """Start a checkout that must succeed."""
    answer = await start(buyer, *lines)
    assert answer.status_code == 201, answer.text
    return as_json(answer)


async def seats(buyer: Buyer, zone: int, **query: Any) -> list[Json]:
    """Every seat of a zone, by as many pages as it takes."""
    found: list[Json] = []
    after: int | None = 0
    while after is not None:
        answer = await buyer.http.get(
            f"/v1/zones/{zone}/seats", params={**query, "after": after}, headers=dict(buyer.headers)
        )
        assert answer.status_code == 200, answer.text
        found += answer.json()["seats"]
        after = answer.json()["next_after"]
    return found


async def zones(buyer: Buyer, event: int) -> dict[str, Json]:
    """An event's zones by their names."""
    answer = await buyer.http.get(f"/v1/events/{event}/zones", headers=dict(buyer.headers))
    assert answer.status_code == 200, answer.text
    return {zone["name"]: zone for zone in answer.json()["zones"]}
