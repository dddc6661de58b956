"""Starts over HTTP: what a storefront sees, with the API's own share in it."""

from __future__ import annotations

import uuid

import httpx

from bench.figures import Series
from bench.load import closed_loop
from bench.recovery import token
from bench.stage import PRODUCTS, Stage


async def measure(stage: Stage, *, clients: int, count: int, rounds: int) -> list[Series]:
    """A route that does nothing but check the token and read one row, and a start, in turns."""
    read, start = Series("GET /v1/products/1"), Series("POST /v1/checkouts")
    limits = httpx.Limits(max_connections=clients)
    base = f"http://127.0.0.1:{stage.ports['api']}"
    async with httpx.AsyncClient(
        base_url=base, headers={"authorization": f"Bearer {token()}"}, timeout=15, limits=limits
    ) as http:

        async def read_one(_: int) -> None:
            (await http.get("/v1/products/1")).raise_for_status()

        async def start_one(number: int) -> None:
            body = {"lines": [{"product_id": number % PRODUCTS + 1, "quantity": 1}]}
            headers = {"idempotency-key": uuid.uuid4().hex}
            (await http.post("/v1/checkouts", json=body, headers=headers)).raise_for_status()

        for task in (read_one, start_one):
            await closed_loop(task, clients=clients, count=count // 4)
        for _ in range(rounds):
            read.rounds.append(await closed_loop(read_one, clients=clients, count=count))
            start.rounds.append(await closed_loop(start_one, clients=clients, count=count))
    return [read, start]
