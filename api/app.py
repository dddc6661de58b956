"""The app factory: the only place in api/ that reads settings and wires things."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
from fastapi import FastAPI
from temporalio.client import Client
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from activities.delivery import Delivery
from activities.gateways.registry import gateways_from
from api import logs, problems, temporal
from api.access import Access, Lifetimes
from api.confirming import Confirming
from api.context import RequestContext
from api.deps import Services
from api.edge import edge
from api.engine import Engine
from api.limits import Limit, Limits, storage_of
from api.openapi import DESCRIPTION, TAGS, HoldfastAPI, installed_version
from api.passwords import Passwords
from api.revocations import Revocations
from api.routes import admin_products, auth, cart, checkouts, health, orders, products, webhooks
from api.tokens import Tokens
from api.verification import Verifier
from db.database import Database
from domain.ids import TenantId
from settings import Settings


def create_app(settings: Settings | None = None, *, client: Client | None = None) -> FastAPI:
    """The API. Opens its connections when it starts to serve and closes them at the end; starts while they are down.

    `client`: a Temporal client to use instead of the environment's. Raises UnsafeSettings, or ValueError for settings
    that cannot work.
    """
    settings = settings or Settings()
    logs.configure(settings.log_format, folder=settings.log_dir)
    app = HoldfastAPI(
        title="Holdfast",
        version=installed_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=_lifespan(settings, tokens_from(settings), limits_from(settings), client),
        redirect_slashes=False,
    )
    app.state.max_body_bytes = settings.max_body_bytes
    app.state.body_seconds = settings.max_body_seconds
    app.add_middleware(RequestContext, around=edge(settings.hosts, settings.cors_origins))
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    problems.install(app)
    for routes in (auth, products, admin_products, cart, checkouts, orders, webhooks, health):
        app.include_router(routes.router)
    return app


def tokens_from(settings: Settings) -> Tokens:
    """What issues and verifies this installation's access tokens. Raises ValueError for a short secret."""
    previous = settings.jwt_previous_secret.get_secret_value() if settings.jwt_previous_secret else None
    secret = settings.jwt_secret.get_secret_value()
    return Tokens(secret, settings.jwt_issuer, settings.jwt_audience, previous=previous)


def limits_from(settings: Settings) -> Limits:
    """The rate limits that this installation sets. Raises ValueError for a store that cannot be used."""
    per_minute = {limit: getattr(settings, f"rate_limit_{limit}") for limit in Limit}
    return Limits(per_minute, storage_of(settings.rate_limit_storage))


def _lifespan(
    settings: Settings, tokens: Tokens, limits: Limits, client: Client | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        db = Database(settings.database_url.get_secret_value(), size=settings.database_pool_size, name="holdfast-api")
        engine = client or await temporal.connect(f"127.0.0.1:{settings.temporal_port}", lazy=True)
        async with httpx.AsyncClient() as http:
            app.state.services = _services(settings, tokens, limits, db, engine, http, await Passwords.create())
            await db.open()
            try:
                yield
            finally:
                await db.close()

    return lifespan


def _services(
    settings: Settings,
    tokens: Tokens,
    limits: Limits,
    db: Database,
    client: Client,
    http: httpx.AsyncClient,
    passwords: Passwords,
) -> Services:
    hash_key = settings.buyer_hash_key.get_secret_value().encode()
    engine = Engine(client, settings.task_queue, hash_key, settings.max_inflight_starts)
    delivery = Delivery(db, client, settings.task_queue)
    revocations = Revocations(db)
    return Services(
        db=db,
        temporal=client,
        gateways=gateways_from(settings.sandbox_gateway_url, settings.sandbox_gateway_secret.get_secret_value(), http),
        verifier=Verifier(tokens, revocations),
        access=Access(db, tokens, passwords, revocations, _lifetimes(settings)),
        default_tenant=TenantId(settings.default_tenant),
        versioned=settings.build_id is not None,
        engine=engine,
        delivery=delivery,
        confirming=Confirming(db, engine, delivery),
        limits=limits,
    )


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(settings.access_token_seconds, settings.refresh_token_seconds, settings.session_token_seconds)
