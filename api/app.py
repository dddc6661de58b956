"""The app factory: the only place in api/ that reads settings and wires things."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import httpx
from fastapi import FastAPI
from temporalio.client import Client
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from activities.closing import Closing
from activities.delivery import Delivery
from activities.fulfilment.starting import Fulfilling
from activities.gateways.registry import gateways_from, tenant_secrets
from activities.gateways.secrets import TenantSecrets
from activities.hooks.targets import checked_hook_url
from api import logs, problems, temporal
from api.access import Access, Lifetimes
from api.confirming import Confirming
from api.context import RequestContext
from api.deps import Services
from api.edge import edge
from api.engine import Engine
from api.event_stream import StreamTimes
from api.fair_places import FairPlaces
from api.fresh import Fresh
from api.issuers import OutsideConfig, OutsideIssuer
from api.limits import Limit, Limits, storage_of
from api.openapi import DESCRIPTION, TAGS, HoldfastAPI, installed_version
from api.passwords import Passwords
from api.paying import Paying
from api.revocations import Revocations
from api.routes import (
    admin_events,
    admin_fiscal,
    admin_products,
    admin_tenant,
    admin_webhooks,
    auth,
    cart,
    checkouts,
    contact,
    events,
    health,
    lines,
    ops_carts,
    ops_fiscal,
    ops_fulfilment,
    ops_orders,
    ops_payments,
    ops_reconciliation,
    ops_webhooks,
    orders,
    payments,
    products,
    streams,
    tickets,
    webhooks,
)
from api.stopping import told_of_stop
from api.stream_tokens import StreamTokens
from api.streams import Streams
from api.tokens import Scope, Tokens
from api.verification import Verifier
from api.watching import Watching
from db.database import Database
from db.keyring import KeyRing
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
    # The busiest first: a request is held against each router until one fits.
    for routes in (
        cart,
        products,
        checkouts,
        lines,
        payments,
        streams,
        events,
        webhooks,
        orders,
        tickets,
        contact,
        auth,
        admin_products,
        admin_events,
        admin_tenant,
        admin_webhooks,
        admin_fiscal,
        ops_carts,
        ops_orders,
        ops_fulfilment,
        ops_payments,
        ops_reconciliation,
        ops_webhooks,
        ops_fiscal,
        health,
    ):
        app.include_router(routes.router)
    return app


def tokens_from(settings: Settings) -> Tokens:
    """What issues and verifies this installation's access tokens. Raises ValueError for a short secret."""
    previous = settings.jwt_previous_secret.get_secret_value() if settings.jwt_previous_secret else None
    secret = settings.jwt_secret.get_secret_value()
    return Tokens(secret, settings.jwt_issuer, settings.jwt_audience, previous=previous)


def outside_from(settings: Settings, http: httpx.AsyncClient) -> OutsideIssuer | None:
    """The outside issuer that this installation trusts, if there is one."""
    issuer, audience, url = settings.outside_issuer, settings.outside_audience, settings.outside_jwks_url
    if issuer is None or audience is None or url is None:
        return None
    config = OutsideConfig(
        issuer=issuer,
        audience=audience,
        jwks_url=url,
        algorithms=settings.outside_algorithms,
        types=settings.outside_token_types,
        tenant_claim=settings.outside_tenant_claim,
        scope_claim=settings.outside_scope_claim,
        scopes={theirs: Scope(ours) for theirs, _, ours in (pair.rpartition("=") for pair in settings.outside_scopes)},
    )
    return OutsideIssuer(config, http)


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
            outside = outside_from(settings, http)
            verifier = Verifier(tokens, Revocations(db), outside)
            app.state.services = _services(settings, verifier, limits, db, engine, http, await Passwords.create())
            await db.open()
            try:
                with told_of_stop(app.state.services.watching.streams.stop):
                    yield
            finally:
                await db.close()
                if outside:
                    await outside.close()

    return lifespan


def _services(
    settings: Settings,
    verifier: Verifier,
    limits: Limits,
    db: Database,
    client: Client,
    http: httpx.AsyncClient,
    passwords: Passwords,
) -> Services:
    keys = KeyRing.parse(settings.secret_keys.get_secret_value())
    secrets = TenantSecrets(db, keys)
    hash_key = settings.buyer_hash_key.get_secret_value().encode()
    engine = Engine(client, settings.task_queue, hash_key, FairPlaces(settings.max_inflight_starts))
    delivery = Delivery(db, client, settings.task_queue)
    gateways = gateways_from(settings.gateways, http, secrets)
    return Services(
        db=db,
        temporal=client,
        gateways=gateways,
        known_secrets=tenant_secrets(settings.gateways),
        verifier=verifier,
        access=Access(db, verifier, passwords, _lifetimes(settings)),
        default_tenant=TenantId(settings.default_tenant),
        versioned=settings.build_id is not None,
        engine=engine,
        delivery=delivery,
        fulfilling=Fulfilling(client, settings.task_queue),
        confirming=Confirming(db, engine, delivery),
        paying=Paying(db, engine, delivery, Closing(db, gateways)),
        limits=limits,
        keys=keys,
        secrets=secrets,
        zones=Fresh(),
        watching=_watching(settings, db),
        checked_hook_url=partial(checked_hook_url, development=settings.env == "development"),
    )


def _watching(settings: Settings, db: Database) -> Watching:
    previous = settings.jwt_previous_secret.get_secret_value() if settings.jwt_previous_secret else None
    secret = settings.jwt_secret.get_secret_value()
    return Watching(
        Streams(db, most=settings.max_streams, most_of_one=settings.max_streams_per_buyer),
        StreamTokens(secret, settings.jwt_issuer, settings.jwt_audience, previous=previous),
        StreamTimes(settings.stream_linger_seconds, settings.stream_keep_alive_seconds),
    )


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(settings.access_token_seconds, settings.refresh_token_seconds, settings.session_token_seconds)
