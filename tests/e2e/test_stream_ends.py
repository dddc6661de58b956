"""Streams at the end of the process, as its supervisor ends it; and in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api.app import create_app
from local import processes, programs
from local.ports import free_port
from tests.support.api import GENEROUS, as_environment, serving
from tests.support.event_source import kinds, watching
from tests.support.gateway import served
from tests.support.system import System
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE = 60.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@asynccontextmanager
async def a_process(
    system: System, folder: Path, count: int
) -> AsyncIterator[tuple[psutil.Process, httpx.AsyncClient]]:
    """`holdfast api` on the system's servers, in so many processes."""
    port = free_port()
    environment = {
        **os.environ,
        **as_environment(GENEROUS),
        "HOLDFAST_ENV": "development",
        "HOLDFAST_DATABASE_URL": system.admin_url,
        "HOLDFAST_API_PORT": str(port),
        "HOLDFAST_API_PROCESSES": str(count),
    }
    command = processes.Command(programs.argv("api"), folder / "api.log", environment)
    child = await asyncio.to_thread(processes.spawn, command)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

            async def answers() -> bool:
                try:
                    return (await http.get("/healthz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(answers, PATIENCE)
            yield psutil.Process(child.pid), http
    finally:
        await asyncio.to_thread(processes.stop, child)


@pytest.mark.parametrize("count", [1, 2])
async def test_sigterm_ends_open_streams_at_once_and_the_process_with_them(
    system: System, tmp_path: Path, count: int
) -> None:
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    async with a_process(system, tmp_path, count) as (process, http):
        async with watching(http, held["id"], buyer.headers) as stream:
            await stream.until("held", 30)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            [end] = await stream.rest(5)
        assert (end.event, end.data) == ("end", {"reason": "stopping"})
        assert await asyncio.to_thread(process.wait, 8) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 7, "uvicorn would wait 8 s for an answer that does not end"
    async with watching(system.http, held["id"], buyer.headers, last_event_id="1") as stream:
        await buyer.cancel(held["id"])
        assert kinds(await stream.until("cancelled")) == ["cancelled"]


PAGE = """<!doctype html><meta charset="utf-8"><title>Checkout</title><script>
const seen = [], url = %(url)s;
const report = (what) => fetch("/seen", {method: "POST", body: JSON.stringify({what, seen})});
const source = new EventSource(url);
for (const kind of ["held", "extended", "cancelled", "end"])
  source.addEventListener(kind, (event) => {
    seen.push([kind, event.lastEventId, JSON.parse(event.data)]);
    if (kind !== "end") report("event");
  });
source.onerror = () => report(source.readyState === EventSource.CLOSED ? "closed" : "comes again");
</script>"""


@contextmanager
def chromium(url: str, folder: Path) -> Any:
    """A headless browser at this page."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    assert CHROMIUM is not None
    command = [CHROMIUM, *options, f"--user-data-dir={folder}/profile", url]
    environment = {**os.environ, "HOME": str(folder)}
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            yield
        finally:
            processes.kill_tree(browser.pid)
            browser.wait(PATIENCE)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
async def test_a_browsers_event_source_follows_comes_again_by_itself_and_stops_at_the_end(
    system: System, tmp_path: Path
) -> None:
    """From a page of another origin, by a stream token; the connection is broken once in the middle."""
    buyer = system.buyer()
    held = await buyer.hold((await system.product(), 1))
    token = (await buyer.post(f"/v1/checkouts/{held['id']}/events/token", None, None)).json()["token"]
    reports: list[dict[str, Any]] = []
    target = {"url": ""}

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE % {"url": json.dumps(target["url"])})

    async def report(request: Request) -> Response:
        reports.append(await request.json())
        return Response(status_code=204)

    routes = [Route("/", page), Route("/seen", report, methods=["POST"])]
    with served(lambda: Starlette(routes=routes)) as origin:
        settings = system.settings.model_copy(update={"cors_origins": (origin,), "stream_linger_seconds": 0.0})
        app = create_app(settings, client=system.client)
        async with serving(app) as http:
            target["url"] = f"{http.base_url}/v1/checkouts/{held['id']}/events?token={token}".replace("//v1", "/v1")

            async def saw(*expected: str) -> bool:
                return bool(reports) and [one[0] for one in reports[-1]["seen"]] == list(expected)

            async def closed() -> bool:
                return bool(reports) and reports[-1]["what"] == "closed"

            with chromium(origin, tmp_path):
                await eventually(lambda: saw("held"), PATIENCE)
                app.state.services.watching.streams.stop()  # As if the process went; then it is there again.
                await eventually(lambda: saw("held", "end"), PATIENCE)
                await buyer.extend(held["id"])
                app.state.services.watching.streams._stopping = False
                await eventually(lambda: saw("held", "end", "extended"), PATIENCE)
                await buyer.cancel(held["id"])
                await eventually(closed, PATIENCE)
    seen = reports[-1]["seen"]
    assert [(kind, number) for kind, number, _ in seen if kind != "end"] == [
        ("held", "1"), ("extended", "2"), ("cancelled", "3"),
    ]  # fmt: skip
    assert seen[-1][0] == "end"
    assert seen[-1][2] == {"reason": "over"}
