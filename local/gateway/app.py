"""The sandbox gateway as an ASGI application: `uvicorn --factory local.gateway.app:create_app`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from local.gateway import page, routes
from local.gateway.config import GatewayConfig
from local.gateway.errors import Refused
from local.gateway.service import running
from settings import Settings


def create_app(config: GatewayConfig | None = None) -> FastAPI:
    """The gateway for this configuration, or for the settings in the environment. Opens nothing before it starts."""
    chosen = config or config_from(Settings())

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(chosen) as sandbox:
            app.state.sandbox = sandbox
            yield

    app = FastAPI(title="Sandbox payment gateway", version="1", description=_ABOUT, lifespan=lifespan)
    app.include_router(routes.router)
    app.include_router(page.router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def config_from(settings: Settings) -> GatewayConfig:
    """The gateway of this installation: it keeps `gateway.db`, and tells the API here unless told another."""
    return GatewayConfig(
        database=settings.data_dir / "gateway.db",
        secrets=settings.sandbox_gateway_secret.get_secret_value().split(),
        target_url=settings.sandbox_webhook_url or f"http://127.0.0.1:{settings.api_port}",
        public_url=settings.sandbox_public_url,
    )


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)  # noqa: S101  # Only this class is registered for it.
    return JSONResponse({"code": error.code, "detail": error.detail}, error.status)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Names the fields at fault; never repeats what was sent."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # Only this class is registered for it.
    fields = ", ".join(".".join(str(part) for part in each["loc"]) for each in error.errors())
    return JSONResponse({"code": "invalid", "detail": f"Not valid: {fields}"[:500]}, 422, media_type="application/json")


_ABOUT = """A payment gateway for development and tests. It takes payments, keeps a ledger, and sends webhooks signed by
the [Standard Webhooks](https://www.standardwebhooks.com/) specification to
`{target}/v1/webhooks/{tenant}/sandbox`, at least once, retried until somebody answers 2xx. On command it duplicates,
delays, reorders, drops or forges them, and fails itself. Event types: `payment.created`, `payment.processing`,
`payment.captured`, `payment.failed`, `payment.refunded`, `payment.expired`."""
