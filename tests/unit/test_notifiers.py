"""Messages to phones, against a real HTTP server that speaks as the providers do."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from activities.fulfilment.notifiers import (
    NOTIFIER_SECRETS,
    LogNotifier,
    Note,
    Notifiers,
    SmsNotifier,
    WhatsAppNotifier,
)
from activities.fulfilment.outcomes import Never, NotYet
from domain.fulfilment import Step, StepRequest
from domain.ids import TenantId
from tests.support.api import serving
from tests.support.fulfilment import ORDER, NoSecrets

REQUEST = StepRequest(TenantId("demo"), ORDER, Step.NOTIFY)
NOTE = Note(REQUEST, "+573001234567", "es", "La Esquina", "0D6F1F0A", "La Esquina: tu pedido está confirmado.")
WHATSAPP = json.dumps({"phone_number_id": "1055", "access_token": "EAAG-secret", "template": "order_confirmed"})
SMS = json.dumps({"account_sid": "AC1", "auth_token": "sms-secret", "from": "+15005550006"})


@dataclass
class Provider:
    """What came in, and what it answers."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes = b'{"messages": [{"id": "wamid.1"}], "sid": "SM1"}'


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    kept, app = Provider(), FastAPI()

    @app.post("/{path:path}")
    async def take(path: str, request: Request) -> Response:
        kept.seen.append({"path": path, "headers": dict(request.headers), "body": (await request.body()).decode()})
        return Response(kept.body, kept.status, media_type="application/json")

    async with serving(app) as http:
        kept.url = str(http.base_url).rstrip("/")
        yield kept


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as one:
        yield one


def notifiers(provider: Provider, http: httpx.AsyncClient, **secrets: str) -> Notifiers:
    return Notifiers(NoSecrets(**secrets), http, whatsapp_url=f"{provider.url}/v23.0", sms_url=provider.url)


async def test_whatsapp_is_sent_as_a_template_message_with_the_steps_key(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    chosen = await notifiers(provider, http, notify_whatsapp=WHATSAPP, notify_sms=SMS).of(REQUEST)
    assert await chosen.send(NOTE) == hashlib.sha256(b"wamid.1").hexdigest(), (
        "the number of whom it went to is in the id"
    )
    [seen] = provider.seen
    body = json.loads(seen["body"])
    assert seen["path"] == "v23.0/1055/messages"
    assert seen["headers"]["authorization"] == "Bearer EAAG-secret"
    assert (body["to"], body["type"], body["biz_opaque_callback_data"]) == ("573001234567", "template", REQUEST.key)
    assert body["template"]["name"] == "order_confirmed"
    assert body["template"]["language"] == {"code": "es"}
    [component] = body["template"]["components"]
    assert [one["text"] for one in component["parameters"]] == ["0D6F1F0A", "La Esquina"]


async def test_an_sms_is_sent_as_twilio_takes_it(provider: Provider, http: httpx.AsyncClient) -> None:
    chosen = await notifiers(provider, http, notify_sms=SMS).of(REQUEST)
    assert await chosen.send(NOTE) == "SM1"
    [seen] = provider.seen
    form = dict(httpx.QueryParams(seen["body"]))
    assert seen["path"] == "2010-04-01/Accounts/AC1/Messages.json"
    assert form == {"To": NOTE.phone, "From": "+15005550006", "Body": NOTE.text}
    assert seen["headers"]["authorization"].startswith("Basic ")
    assert seen["headers"]["idempotency-key"] == str(REQUEST.effect_id)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 401, 403, 302])
@pytest.mark.parametrize("secret", [{"notify_whatsapp": WHATSAPP}, {"notify_sms": SMS}], ids=["whatsapp", "sms"])
async def test_what_may_be_mended_is_tried_again(
    provider: Provider, http: httpx.AsyncClient, secret: dict[str, str], status: int
) -> None:
    provider.status, provider.body = status, b"+573001234567 is at fault"
    chosen = await notifiers(provider, http, **secret).of(REQUEST)
    with pytest.raises(NotYet, match=str(status)) as failed:
        await chosen.send(NOTE)
    assert "573001234567" not in str(failed.value)


async def test_a_message_that_is_refused_is_not_tried_again(provider: Provider, http: httpx.AsyncClient) -> None:
    provider.status = 400
    for name, secret in (("whatsapp", {"notify_whatsapp": WHATSAPP}), ("sms", {"notify_sms": SMS})):
        with pytest.raises(Never, match=f"{name}_refused_400"):
            await (await notifiers(provider, http, **secret).of(REQUEST)).send(NOTE)


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"messages": []}', b'{"messages": 5}'])
async def test_a_taken_message_counts_whatever_else_the_answer_says(
    provider: Provider, http: httpx.AsyncClient, body: bytes
) -> None:
    provider.body = body
    chosen = await notifiers(provider, http, notify_whatsapp=WHATSAPP).of(REQUEST)
    assert await chosen.send(NOTE) == ""


async def test_a_provider_that_is_down_is_tried_again(http: httpx.AsyncClient) -> None:
    away = Provider(url="http://127.0.0.1:1")
    for secret in ({"notify_whatsapp": WHATSAPP}, {"notify_sms": SMS}):
        with pytest.raises(NotYet, match="ConnectError"):
            await (await notifiers(away, http, **secret).of(REQUEST)).send(NOTE)


async def test_without_a_secret_it_is_a_line_in_the_log_without_the_number(
    provider: Provider, http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chosen = await notifiers(provider, http).of(REQUEST)
    assert isinstance(chosen, LogNotifier)
    assert await chosen.send(NOTE) == ""
    said = caplog.text + "".join(capsys.readouterr())
    assert "573001234567" not in said
    assert provider.seen == []


@pytest.mark.parametrize("name", NOTIFIER_SECRETS)
@pytest.mark.parametrize("bad", ["", "{}", "[]", "null", "text", '{"from": 1}', "[" * 3000, WHATSAPP + SMS])
def test_a_secret_that_is_none_is_refused_without_being_shown(name: str, bad: str) -> None:
    with pytest.raises(ValueError, match="JSON object of the texts") as refused:
        NOTIFIER_SECRETS[name](bad)
    assert "secret" not in str(refused.value)


def test_a_line_end_in_a_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON object"):
        NOTIFIER_SECRETS["notify/whatsapp"](WHATSAPP.replace("EAAG", "EA\\r\\nX: y"))


def test_nothing_shows_the_number() -> None:
    assert "573001234567" not in repr(NOTE)
    assert {WhatsAppNotifier.name, SmsNotifier.name, LogNotifier.name} == {"whatsapp", "sms", "log"}
