"""How long after a kill -9 the next checkout succeeds, while a supervisor starts again what died at once."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Sequence

import httpx

from api.tokens import Scope, Tokens
from bench.stage import PRODUCTS, TENANT, Stage
from domain.ids import TenantId
from settings import Settings

PATIENCE_SECONDS = 60
AIMS = {"worker": 5.0, "API": 10.0, "PostgreSQL": 10.0, "Temporal": 10.0}
"""Seconds, by the project's aims."""


def measure(stage: Stage, *, times: int) -> dict[str, list[float]]:
    """Seconds from each kill to the next 201, for each component."""
    with _client(stage) as http:
        _until_served(http)
        found: dict[str, list[float]] = {name: [] for name in AIMS}
        for _ in range(times):
            for name, kill, start in _components(stage):
                found[name].append(_one(http, kill, start))
                time.sleep(2)
        return found


def rows(found: dict[str, list[float]]) -> Sequence[Sequence[str]]:
    """A row a component: the median, the longest, the aim."""
    return [
        [name, f"{statistics.median(seconds):.1f} s", f"{max(seconds):.1f} s", f"≤ {AIMS[name]:.0f} s"]
        for name, seconds in found.items()
    ]


def start_worker(stage: Stage) -> None:
    """The worker of checkouts as a child; once, that of what follows a sale beside it."""
    stage.start_child("worker", "-m", "bench.worker_process")
    if "fulfilment" not in stage.children:
        stage.start_child("fulfilment", "-c", "import cli; cli.main()", "worker", "--only", "fulfilment")


def start_api(stage: Stage) -> None:
    """The API as a child."""
    stage.start_child("api", "-c", "import cli; cli.main()", "api")


def _components(stage: Stage) -> Sequence[tuple[str, Callable[[], None], Callable[[], None]]]:
    return [
        ("worker", lambda: stage.kill_child("worker"), lambda: start_worker(stage)),
        ("API", lambda: stage.kill_child("api"), lambda: start_api(stage)),
        ("PostgreSQL", stage.postgres.kill, stage.postgres.start),
        ("Temporal", stage.temporal.kill, stage.temporal.start),
    ]


def _one(http: httpx.Client, kill: Callable[[], None], start: Callable[[], None]) -> float:
    kill()
    killed = time.monotonic()
    supervisor = threading.Thread(target=start)
    supervisor.start()
    recovered = _until_served(http)
    supervisor.join()
    return recovered - killed


def _until_served(http: httpx.Client) -> float:
    """When the next start succeeded. Each try is a new buyer's, so none waits behind another."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        key = uuid.uuid4().hex
        body = {"lines": [{"product_id": uuid.uuid4().int % PRODUCTS + 1, "quantity": 1}]}
        try:
            if (
                http.post("/v1/checkouts", json=body, headers={"idempotency-key": key}).status_code
                == httpx.codes.CREATED
            ):
                return time.monotonic()
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"no checkout succeeded within {PATIENCE_SECONDS} s")


def _client(stage: Stage) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{stage.ports['api']}", headers={"authorization": f"Bearer {token()}"}, timeout=8
    )


def token() -> str:
    """A buyer's token, as the measured API will take it."""
    settings = Settings(env="development")
    tokens = Tokens(settings.jwt_secret.get_secret_value(), settings.jwt_issuer, settings.jwt_audience)
    return tokens.issue(TenantId(TENANT), str(uuid.uuid4()), {Scope.BUYER}, 3600)
