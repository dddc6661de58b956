"""A tenant's settings and secrets, for its administrators. Every change is in the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from structlog import stdlib

from api.deps import Admin, Db, Wired
from api.problems import JSON_BODY, documented
from api.requests import StrictRoute
from api.tenant_models import SecretIn, SecretsOut, TenantOut, TenantPatch
from db import tenant_secrets
from db.tenant_settings import change_settings, read_settings
from domain.errors import (
    BadRequest,
    CurrencyInUse,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from domain.tenant_secrets import checked_secret

router = APIRouter(route_class=StrictRoute, tags=["tenant administration"])
_log = stdlib.get_logger("security")
_ALWAYS = (BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Unavailable)
_WITH_BODY = (*_ALWAYS, *JSON_BODY)
SecretPath = Annotated[str, Path(description="Which secret.", examples=["gateway/sandbox"])]


@router.get(
    "/v1/admin/tenant",
    operation_id="getTenant",
    summary="Read the tenant's settings",
    responses=documented(*_ALWAYS),
)
async def read(caller: Admin, db: Db) -> TenantOut:
    """The settings of the caller's own tenant."""
    return TenantOut.of(caller.tenant, await read_settings(db, caller.tenant))


@router.patch(
    "/v1/admin/tenant",
    operation_id="changeTenant",
    summary="Change the tenant's settings",
    responses=documented(*_WITH_BODY, CurrencyInUse),
)
async def change(body: TenantPatch, caller: Admin, db: Db) -> TenantOut:
    """Changes the fields that are sent, and answers all of them. Holds that are live keep the times and prices that
    they began with."""
    return TenantOut.of(caller.tenant, await change_settings(db, caller.tenant, caller.actor, body.as_changes()))


@router.get(
    "/v1/admin/tenant/secrets",
    operation_id="listTenantSecrets",
    summary="List the tenant's secrets",
    responses=documented(*_ALWAYS),
)
async def list_secrets(caller: Admin, db: Db) -> SecretsOut:
    """Which secrets the tenant has of its own, and since when. What they are is never shown."""
    return SecretsOut.of(await tenant_secrets.list_secrets(db, caller.tenant))


@router.put(
    "/v1/admin/tenant/secrets/{name:path}",
    operation_id="putTenantSecret",
    summary="Set a secret",
    status_code=204,
    responses=documented(*_WITH_BODY),
)
async def put_secret(body: SecretIn, caller: Admin, services: Wired, name: SecretPath) -> None:
    """Sets it, whatever it was before. It counts instead of the installation's own, in all processes within seconds."""
    secret = checked_secret(services.known_secrets, name, body.secret.get_secret_value())
    await tenant_secrets.put_secret(services.db, caller.tenant, caller.actor, services.keys, name, secret)
    services.secrets.forget(caller.tenant, name)
    _log.info("secret_set", name=name, by=caller.actor)


@router.delete(
    "/v1/admin/tenant/secrets/{name:path}",
    operation_id="deleteTenantSecret",
    summary="Delete a secret",
    status_code=204,
    responses=documented(*_ALWAYS),
)
async def delete_secret(caller: Admin, services: Wired, name: SecretPath) -> None:
    """Deletes it: the installation's own counts again."""
    await tenant_secrets.delete_secret(services.db, caller.tenant, caller.actor, name)
    services.secrets.forget(caller.tenant, name)
    _log.info("secret_deleted", name=name, by=caller.actor)
