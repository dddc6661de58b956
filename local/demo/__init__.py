"""`holdfast demo`: a person watches buyers pay, cancel and let a hold expire, against the running system."""

from __future__ import annotations

import httpx

from local.demo.acts import Demo
from local.demo.screen import make_screen
from local.demo.shop import Gateway, ask
from local.demo.temporal_ui import temporal_ui
from local.ports import LOOPBACK
from settings import Settings


async def run(settings: Settings) -> None:
    """Play every act, printing each step.

    Raises LocalError when nothing runs at the settings' ports, DemoFailed when a step does not end as it should.
    """
    screen = make_screen()
    api = f"http://{LOOPBACK}:{settings.api_port}"
    gateway = f"http://{LOOPBACK}:{settings.gateway_port}"
    async with _client(api) as http, _client(gateway) as gateway_http:
        await ask(http, "GET", "/readyz", None, {}, 200)
        await ask(gateway_http, "GET", "/healthz", None, {}, 200)
        demo = Demo(screen, http, Gateway(gateway_http), await temporal_ui(settings.temporal_ui_port))
        screen.title("Holdfast demo", f"Three ways in which a hold ends, on the system at {api}")
        for act in (demo.pays, demo.cancels, demo.lets_it_expire):
            await act()
        screen.end("Every hold ended as it should.")


def _client(url: str) -> httpx.AsyncClient:
    """The addresses are this machine's own, so proxies from the environment have no say."""
    return httpx.AsyncClient(base_url=url, timeout=15, trust_env=False)
