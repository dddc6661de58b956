"""Short messages to phones: WhatsApp (Cloud API), SMS (Twilio-compatible), or a line in the log.

A shop chooses by the secret that it has: `notify/whatsapp`, else `notify/sms`, else the log. Each secret is a JSON
object. Providers offer no idempotency for these messages: a message whose answer was lost may come twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from structlog import stdlib

from activities.fulfilment.outcomes import Never, NotYet
from activities.gateways.secrets import Secrets
from domain.fulfilment import StepRequest

WHATSAPP_SECRET, SMS_SECRET = "notify/whatsapp", "notify/sms"  # names, not secrets
_WHATSAPP_FIELDS = ("phone_number_id", "access_token", "template")
_SMS_FIELDS = ("account_sid", "auth_token", "from")
_TIMEOUT = httpx.Timeout(10.0)
_LATER = frozenset({401, 403, 404, 408, 425, 429})
"""Answers that are about our account or their state, which somebody mends, and not about this message."""
_log = stdlib.get_logger("fulfilment")


@dataclass(frozen=True, slots=True)
class Note:
    """A message. `short`, `shop`: what a template's placeholders are filled with. `phone` in E.164."""

    request: StepRequest
    phone: str = field(repr=False)
    language: str
    shop: str
    short: str
    text: str


class Notifier(Protocol):
    """Sends one kind of message."""

    name: str

    async def send(self, note: Note) -> str:
        """Hand it over; the provider's id of it, or "". Raises NotYet or Never, which name codes only."""
        ...


class LogNotifier:
    """Says in the log that there was something to send; not to whom."""

    name = "log"

    async def send(self, note: Note) -> str:
        """See Notifier."""
        _log.info("buyer_notified", key=note.request.key, text=note.text)
        return ""


class WhatsAppNotifier:
    """A template message by the WhatsApp Cloud API. The template's body has two placeholders: order and shop.

    The step's key travels as `biz_opaque_callback_data`, and comes back with what the API tells of the delivery.
    """

    name = "whatsapp"

    def __init__(self, url: str, account: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._url, self._account, self._client = url.rstrip("/"), account, client

    async def send(self, note: Note) -> str:
        """See Notifier. Of WhatsApp's id only a digest: in it is the buyer's number, which is not kept here."""
        parameters = [{"type": "text", "text": one} for one in (note.short, note.shop)]
        template = {
            "name": self._account["template"],
            "language": {"code": note.language},
            "components": [{"type": "body", "parameters": parameters}],
        }
        body = {
            "messaging_product": "whatsapp",
            "to": note.phone.removeprefix("+"),
            "type": "template",
            "template": template,
            "biz_opaque_callback_data": note.request.key,
        }
        headers = {"authorization": f"Bearer {self._account['access_token']}"}
        url = f"{self._url}/{quote(self._account['phone_number_id'], safe='')}/messages"
        answer = await _post(self._client, self.name, url, json=body, headers=headers)
        messages = answer.get("messages")
        named = str(messages[0].get("id", "")) if isinstance(messages, list) and messages else ""
        return hashlib.sha256(named.encode()).hexdigest() if named else ""


class SmsNotifier:
    """A text message by Twilio's API, or by one that is like it."""

    name = "sms"

    def __init__(self, url: str, account: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._url, self._account, self._client = url.rstrip("/"), account, client

    async def send(self, note: Note) -> str:
        """See Notifier. The Idempotency-Key is for compatible APIs that know it; Twilio's own ignores it."""
        sid = self._account["account_sid"]
        form = {"To": note.phone, "From": self._account["from"], "Body": note.text}
        answer = await _post(
            self._client,
            self.name,
            f"{self._url}/2010-04-01/Accounts/{quote(sid, safe='')}/Messages.json",
            data=form,
            auth=(sid, self._account["auth_token"]),
            headers={"idempotency-key": str(note.request.effect_id)},
        )
        return str(answer.get("sid", ""))


class Notifiers:
    """Chooses a shop's notifier."""

    def __init__(self, secrets: Secrets, client: httpx.AsyncClient, *, whatsapp_url: str, sms_url: str) -> None:
        """`client` stays the caller's to close."""
        self._secrets, self._client = secrets, client
        self._whatsapp_url, self._sms_url = whatsapp_url, sms_url

    async def of(self, request: StepRequest) -> Notifier:
        """The one that the step's shop has chosen by its secrets. Raises Unavailable when they cannot be read."""
        if secret := await self._secrets.get(request.tenant, WHATSAPP_SECRET):
            return WhatsAppNotifier(self._whatsapp_url, whatsapp_account(secret), self._client)
        if secret := await self._secrets.get(request.tenant, SMS_SECRET):
            return SmsNotifier(self._sms_url, sms_account(secret), self._client)
        return LogNotifier()


def whatsapp_account(secret: str) -> Mapping[str, str]:
    """The secret notify/whatsapp. Raises ValueError, which never shows what was given."""
    return _account(secret, _WHATSAPP_FIELDS)


def sms_account(secret: str) -> Mapping[str, str]:
    """The secret notify/sms. Raises ValueError, which never shows what was given."""
    return _account(secret, _SMS_FIELDS)


NOTIFIER_SECRETS: Mapping[str, Callable[[str], object]] = {WHATSAPP_SECRET: whatsapp_account, SMS_SECRET: sms_account}
"""By name, with what reads them."""


def _account(secret: str, fields: tuple[str, ...]) -> Mapping[str, str]:
    rule = f"it is a JSON object of the texts {', '.join(fields)}"
    try:
        given = json.loads(secret)
    except (ValueError, RecursionError):
        raise ValueError(rule) from None
    if not isinstance(given, dict) or set(given) != set(fields):
        raise ValueError(rule)
    if not all(isinstance(one, str) and one and one.isprintable() for one in given.values()):
        raise ValueError(rule)
    return given


async def _post(client: httpx.AsyncClient, name: str, url: str, **request: Any) -> dict[str, Any]:
    try:
        answer = await client.post(url, timeout=_TIMEOUT, follow_redirects=False, **request)
        status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        failure: Exception = NotYet(f"{name}: {type(error).__name__}")
    else:
        if 200 <= status < 300:
            return _object(answer)
        if status in _LATER or not 400 <= status < 500:
            failure = NotYet(f"{name} answered {status}")
        else:
            failure = Never(f"{name}_refused_{status}")
    raise failure


def _object(answer: httpx.Response) -> dict[str, Any]:
    """Its JSON, or nothing: the message was taken, whatever else it says."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
