"""A tenant's settings and secrets over real HTTP, and what they do. Answers are held against the OpenAPI document."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from activities.gateways.secrets import FRESH_SECONDS
from api import logs
from api.revocations import FRESH_SECONDS as TOKENS_FRESH_SECONDS
from api.tokens import Scope
from domain.ids import Actor, TenantId
from domain.tenant_settings import TENANT_MAY_CHANGE
from tests.e2e.test_webhooks import captured, post
from tests.support import shop
from tests.support.api import running_api
from tests.support.buyers import Buyer, as_json, code
from tests.support.checkouts import Rows
from tests.support.gateway import SECRET as INSTALLATIONS
from tests.support.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWN = "whsec_dGhlLXNob3BzLW93bi1zZWNyZXQtbnVtYmVyLW9uZS0x"
NEXT = "whsec_dGhlLXNob3BzLW93bi1zZWNyZXQtbnVtYmVyLXR3by0y"
NAME = "gateway/sandbox"
TAX = {"name": "IVA 19 %", "rate_basis_points": 1900, "included": True, "valid_from": "2026-01-01"}
_numbers = itertools.count(1)


class Boss:
    """A tenant's administrator, over HTTP."""

    def __init__(self, system: System, tenant: TenantId) -> None:
        self.tenant, self._system = tenant, system
        self.headers = dict(system.buyer(tenant, "boss", Scope.ADMIN).headers)

    async def read(self) -> dict[str, Any]:
        answer = await self._system.http.get("/v1/admin/tenant", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return as_json(answer)

    async def change(self, **changes: Any) -> httpx.Response:
        return await self._system.http.patch("/v1/admin/tenant", json=changes, headers=self.headers)

    async def secrets(self) -> list[dict[str, Any]]:
        answer = await self._system.http.get("/v1/admin/tenant/secrets", headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = as_json(answer)["items"]
        return found

    async def put(self, secret: Any, name: str = NAME) -> httpx.Response:
        return await self._system.http.put(
            f"/v1/admin/tenant/secrets/{name}", json={"secret": secret}, headers=self.headers
        )

    async def delete(self, name: str = NAME) -> httpx.Response:
        return await self._system.http.delete(f"/v1/admin/tenant/secrets/{name}", headers=self.headers)

    async def audit(self) -> list[tuple[str, Any, Any]]:
        """(action, before, after) of what this one did."""
        rows = await Rows(self._system.admin).all(
            "SELECT * FROM audit_log WHERE tenant_id = %s AND actor = %s ORDER BY id", self.tenant, Actor("user:boss")
        )
        return [(row["action"], row["before"], row["after"]) for row in rows]

    async def hold(self, **product: Any) -> tuple[Buyer, dict[str, Any]]:
        """A new buyer with a new hold on a new product of this tenant."""
        buyer = self._system.buyer(self.tenant)
        return buyer, await buyer.hold((await self._system.product(tenant=self.tenant, **product), 1))

    async def pay(self, checkout: dict[str, Any]) -> dict[str, Any]:
        """A payment of it is captured; the event with which the gateway would tell of it, and does not."""
        payment = await self._system.payment(checkout, self.tenant)
        await self._system.gateway.pay(payment, drop=True)
        return captured(await self._system.gateway.payment(payment))

    async def tell(self, event: dict[str, Any], secret: str, http: httpx.AsyncClient | None = None) -> int:
        """Send the event, signed by this secret; how it is answered."""
        address = f"/v1/webhooks/{self.tenant}/sandbox"
        return (await post(http or self._system.http, event, secret=secret, address=address)).status_code


@pytest_asyncio.fixture(loop_scope="module")
async def boss(system: System) -> AsyncIterator[Boss]:
    """The administrator of a new tenant."""
    yield Boss(system, await shop.make_tenant(system.admin, f"boutique-{next(_numbers)}"))


async def test_settings_are_read_changed_and_noted(boss: Boss) -> None:
    before = await boss.read()
    assert set(before) == {"id", *TENANT_MAY_CHANGE}
    changes = {
        "name": "Boutique ½", "currency": "USD", "hold_seconds": 60, "warning_seconds": 10, "auto_extend": False,
        "max_checkouts_per_owner": 3, "late_payments": "refund", "tax_classes": [TAX],
        "whatsapp_number": "+573001234567",
    }  # fmt: skip
    answer = await boss.change(**changes)
    assert (answer.status_code, answer.json()) == (200, {**before, **changes})
    assert await boss.read() == {**before, **changes}
    again = await boss.change(max_checkouts_per_owner=None, whatsapp_number=None, name="Boutique ½")
    assert (again.json()["max_checkouts_per_owner"], again.json()["whatsapp_number"]) == (None, None)
    assert await boss.audit() == [
        ("tenant.changed", {name: before[name] for name in changes}, changes),
        (
            "tenant.changed",
            {"max_checkouts_per_owner": 3, "whatsapp_number": "+573001234567"},
            {"max_checkouts_per_owner": None, "whatsapp_number": None},
        ),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "a\nb"), ("name", None), ("currency", "cop"), ("currency", "XXX"), ("currency", 1),
        ("hold_seconds", 0), ("hold_seconds", 86_401), ("hold_seconds", "900"), ("hold_seconds", None),
        ("hold_seconds", 1.5), ("hold_seconds", True), ("hold_seconds", 2**40), ("extension_seconds", 0),
        ("maximum_seconds", 899), ("maximum_seconds", 604_801), ("warning_seconds", -1), ("auto_extend", 1),
        ("auto_extend", None), ("max_lines", 0), ("max_lines", 101), ("max_held_lines", 10_001),
        ("max_checkouts_per_owner", 0), ("max_checkouts_per_address", -5), ("cooldown_seconds", 86_401),
        ("late_payments", "keep"), ("late_payments", None), ("tax_classes", None), ("tax_classes", {}),
        ("whatsapp_number", "3001234567"), ("whatsapp_number", ""), ("whatsapp_number", 57),
    ],
)  # fmt: skip
async def test_a_bad_setting_is_named_with_its_fix_and_nothing_is_changed(boss: Boss, field: str, value: Any) -> None:
    before = await boss.read()
    answer = await boss.change(**{"cooldown_seconds": 5, field: value})
    assert (answer.status_code, code(answer)) == (422, "invalid"), answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert await boss.read() == before
    assert await boss.audit() == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"rate_basis_points": 10_001}, "tax_classes.0.rate_basis_points"),
        ({"rate_basis_points": 19.5}, "tax_classes.0.rate_basis_points"),
        ({"included": None}, "tax_classes.0.included"),
        ({"valid_from": "2026-02-30"}, "tax_classes.0.valid_from"),
        ({"valid_from": 20260101}, "tax_classes.0.valid_from"),
        ({"name": " "}, "tax_classes.0.name"),
        ({"rate": 19}, "tax_classes.0"),
    ],
)
async def test_a_bad_tax_class_is_named_by_its_place(boss: Boss, wrong: dict[str, Any], field: str) -> None:
    answer = await boss.change(tax_classes=[{**TAX, **wrong}])
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, [field]), answer.text
    twice = await boss.change(tax_classes=[TAX, TAX])
    assert [one["field"] for one in twice.json()["errors"]] == ["tax_classes.1"]


@pytest.mark.parametrize("extra", ["id", "disabled", "tenant_id", "created_at", "last_product_id"])
async def test_what_is_not_the_tenants_to_change_is_refused(boss: Boss, extra: str) -> None:
    assert (await boss.change(**{extra: False})).status_code == 422
    assert await boss.audit() == []


async def test_the_currency_stays_once_there_are_checkouts(boss: Boss) -> None:
    assert (await boss.change(currency="USD")).json()["currency"] == "USD"
    buyer, held = await boss.hold()
    assert held["currency"] == "USD"
    refused = await boss.change(currency="EUR", max_lines=3)
    assert (refused.status_code, code(refused)) == (409, "currency_in_use")
    assert (await boss.read())["max_lines"] == 100
    assert (await boss.change(currency="USD", max_lines=3)).status_code == 200
    await buyer.cancel(held["id"])


async def test_settings_changed_during_a_hold_are_for_the_next_one(boss: Boss) -> None:
    buyer, held = await boss.hold(price=1000)
    changed = await boss.change(hold_seconds=20, extension_seconds=30, maximum_seconds=60, cooldown_seconds=60)
    assert changed.status_code == 200
    still = await buyer.read(held["id"])
    assert (still["expires_at"], still["total"], still["status"]) == (held["expires_at"], held["total"], "held")
    extended = await buyer.extend(held["id"])
    assert extended.json()["remaining_seconds"] > 850, "its own step, not the new one"
    other, later = await boss.hold()
    assert 15 < later["remaining_seconds"] <= 20
    assert (await other.extend(later["id"])).json()["remaining_seconds"] <= 30
    await buyer.cancel(held["id"])
    await other.cancel(later["id"])


async def test_a_secret_is_written_and_listed_and_never_shown(boss: Boss) -> None:
    assert (await boss.secrets(), (await boss.delete()).status_code) == ([], 404)
    put = await boss.put(OWN)
    assert (put.status_code, put.content) == (204, b"")
    [listed] = await boss.secrets()
    assert set(listed) == {"name", "updated_at"}
    assert listed["name"] == NAME
    assert (await boss.put(f"{NEXT} {OWN}")).status_code == 204
    assert (await boss.delete()).status_code == 204
    assert await boss.secrets() == []
    key = {"key_id": "development"}
    assert await boss.audit() == [
        ("secret.set", None, key), ("secret.set", None, key), ("secret.deleted", key, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "secret", ["", " ", "whsec_", "whsec_c2hvcnQ=", "no base64!", OWN + " x", "é" * 40, "x" * 4001, None, 12, [OWN]]
)
async def test_a_bad_secret_is_a_422_that_does_not_repeat_it(boss: Boss, secret: Any) -> None:
    answer = await boss.put(secret)
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, ["secret"]), answer.text
    for part in str(secret).split():
        assert len(part) < 5 or part == "whsec_" or part not in answer.text
    assert await boss.secrets() == []


@pytest.mark.parametrize("name", ["gateway", "gateway/nowhere", "gateway/sandbox/", "Gateway/sandbox", "%00", "a" * 99])
async def test_a_secret_of_no_known_name_is_a_404(boss: Boss, name: str) -> None:
    sent = [await boss.put(OWN, name), await boss.delete(name)]
    assert [answer.status_code for answer in sent] == ([400, 400] if name == "%00" else [404, 404])
    assert await boss.secrets() == []


async def test_a_name_whose_slash_is_encoded_is_the_same(boss: Boss) -> None:
    assert (await boss.put(OWN, "gateway%2Fsandbox")).status_code == 204
    assert [one["name"] for one in await boss.secrets()] == [NAME]


async def test_a_webhook_is_verified_by_the_tenants_own_secret_and_else_by_the_installations(boss: Boss) -> None:
    answers = []
    for change in (None, lambda: boss.put(OWN), boss.delete):
        if change:
            assert (await change()).status_code == 204
        buyer, held = await boss.hold()
        paid = await boss.pay(held)
        wrong, right = (INSTALLATIONS, OWN) if await boss.secrets() else (OWN, INSTALLATIONS)
        answers.append(await boss.tell(paid, wrong))
        assert (await buyer.read(held["id"]))["status"] == "held"
        answers.append(await boss.tell(paid, right))
        await buyer.until(held["id"], "confirmed")
    assert answers == [401, 200] * 3


async def test_a_secret_is_replaced_without_losing_a_webhook(boss: Boss) -> None:
    steps = ((OWN, OWN), (f"{NEXT} {OWN}", OWN), (f"{NEXT} {OWN}", NEXT), (NEXT, NEXT))
    told: list[dict[str, Any]] = []
    for known, signed in steps:
        assert (await boss.put(known)).status_code == 204
        buyer, held = await boss.hold()
        told.append(await boss.pay(held))
        assert await boss.tell(told[-1], signed) == 200
        await buyer.until(held["id"], "confirmed")
    assert await boss.tell(told[-1], OWN) == 401


async def test_one_tenants_secret_is_no_good_at_another(system: System, boss: Boss) -> None:
    other = Boss(system, await shop.make_tenant(system.admin, f"{boss.tenant}-other"))
    await boss.put(OWN)
    await other.put(NEXT)
    buyer, held = await other.hold()
    paid = await other.pay(held)
    assert [await other.tell(paid, secret) for secret in (OWN, INSTALLATIONS, NEXT)] == [401, 401, 200]
    await buyer.until(held["id"], "confirmed")


async def test_another_process_knows_a_changed_secret_within_seconds(system: System, boss: Boss) -> None:
    async with running_api(system.settings, client=system.client) as http:
        buyer, held = await boss.hold()
        paid = await boss.pay(held)
        assert await boss.tell(paid, OWN, http) == 401  # That process now remembers that there is none.
        await boss.put(OWN)
        until = time.monotonic() + FRESH_SECONDS + 2
        while await boss.tell(paid, OWN, http) != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.2)
        await buyer.until(held["id"], "confirmed")


async def test_a_disabled_tenant_lets_nobody_in_and_what_is_held_goes_on(system: System, boss: Boss) -> None:
    await shop.make_user(system.admin, boss.tenant, "vera")
    buyer, held = await boss.hold()
    host = {"host": f"{boss.tenant}.example.com"}
    login = {"username": "vera", "password": shop.PASSWORD}
    assert (await system.http.post("/v1/auth/token", json=login, headers=host)).status_code == 200
    await system.admin.execute("UPDATE tenants SET disabled = true WHERE id = %s", (boss.tenant,))
    await asyncio.sleep(TOKENS_FRESH_SECONDS + 0.1)
    assert (await buyer.look(held["id"])).status_code == 401
    assert (await boss.change(max_lines=1)).status_code == 401
    assert (await system.http.post("/v1/auth/token", json=login, headers=host)).status_code == 401
    assert (await system.http.post("/v1/sessions", headers=host)).status_code == 404
    assert await boss.tell(await boss.pay(held), INSTALLATIONS) == 200
    await system.admin.execute("UPDATE tenants SET disabled = false WHERE id = %s", (boss.tenant,))
    await asyncio.sleep(TOKENS_FRESH_SECONDS + 0.1)
    await buyer.until(held["id"], "confirmed")


async def test_no_log_line_and_no_answer_has_a_secret_or_a_key(
    system: System, boss: Boss, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[httpx.Response] = []
    with caplog.at_level("DEBUG"):
        try:
            async with running_api(system.settings, client=system.client) as http:
                address = f"/v1/admin/tenant/secrets/{NAME}"
                sent: list[Any] = [{"secret": secret} for secret in (OWN, f"{OWN} {NEXT}", f"{OWN} bad", {"a": OWN})]
                sent.append({"secret": NEXT, OWN: OWN})
                told += [await http.put(address, json=body, headers=boss.headers) for body in sent]
                told.append(await http.get("/v1/admin/tenant/secrets", headers=boss.headers))
                await system.admin.execute("UPDATE tenant_secrets SET key_id = 'lost'")
                buyer, held = await boss.hold()
                paid = await boss.pay(held)
                assert await boss.tell(paid, OWN, http) == 503
                told.append(await http.delete(address, headers=boss.headers))
        finally:
            logs.configure("json")
    assert await boss.tell(paid, INSTALLATIONS) == 200  # Now that there is no other secret.
    await buyer.until(held["id"], "confirmed")
    printed = capfd.readouterr()
    everything = printed.out + printed.err + caplog.text + "".join(f"{one.text}{one.headers}" for one in told)
    assert [one.status_code for one in told] == [204, 204, 422, 422, 422, 200, 204]
    assert '"event": "secret_unreadable"' in everything
    assert '"event": "secret_set"' in everything
    key = system.settings.secret_keys.get_secret_value().partition(":")[2]
    for hidden in (OWN, NEXT, OWN.removeprefix("whsec_"), key):
        assert hidden not in everything
