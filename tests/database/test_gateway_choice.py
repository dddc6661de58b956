"""Which gateway a payment is started at when nobody says: the only one that the shop has set up."""

from __future__ import annotations

import pytest

from api.paying import chosen
from db.database import Database
from domain.errors import Invalid
from domain.ids import GatewayName, TenantId
from tests.support import shop

THERE_ARE = [GatewayName(name) for name in ("sandbox", "standard", "stripe")]


async def set_up(admin: shop.Connection, tenant: TenantId, *secrets: str) -> None:
    for name in secrets:
        await admin.execute(
            "INSERT INTO tenant_secrets (tenant_id, name, ciphertext, key_id) VALUES (%s, %s, 'x', 'k1')",
            (tenant, name),
        )


@pytest.mark.parametrize(
    ("secrets", "gateway"),
    [
        ([], "sandbox"),
        (["gateway/sandbox"], "sandbox"),
        (["gateway/stripe/api-key", "gateway/stripe/webhooks"], "stripe"),
        (["gateway/stripe/api-key", "gateway/sandbox"], "stripe"),
        (["gateway/elsewhere/api-key", "mail"], "sandbox"),
    ],
)
async def test_the_only_one_that_is_set_up_is_meant(
    db: Database, admin: shop.Connection, tenant: TenantId, secrets: list[str], gateway: str
) -> None:
    await set_up(admin, tenant, *secrets)
    await set_up(admin, await shop.make_tenant(admin), "gateway/standard/api-key")
    assert await chosen(db, tenant, None, THERE_ARE) == gateway


async def test_of_two_one_must_be_named(db: Database, admin: shop.Connection, tenant: TenantId) -> None:
    await set_up(admin, tenant, "gateway/stripe/api-key", "gateway/standard/url")
    with pytest.raises(Invalid, match="Send one of: standard, stripe"):
        await chosen(db, tenant, None, THERE_ARE)
    assert await chosen(db, tenant, "stripe", THERE_ARE) == "stripe"


async def test_one_that_is_not_there_is_refused_with_those_that_are(db: Database, tenant: TenantId) -> None:
    with pytest.raises(Invalid, match="Send one of: sandbox, standard, stripe"):
        await chosen(db, tenant, "manual", THERE_ARE)
    with pytest.raises(Invalid, match="Which gateway"):
        await chosen(db, tenant, None, THERE_ARE[1:])
