"""The gateway's page for people: the payments, and buttons that do to them what a buyer or a bank would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from local.gateway import ledger, outbox
from local.gateway.errors import Refused
from local.gateway.page_style import STYLE
from local.gateway.routes import Here
from local.gateway.service import Sandbox

Row = dict[str, Any]
Action = Literal["pay", "decline", "expire", "refund"]

router = APIRouter(include_in_schema=False)

_BUTTONS: Mapping[str, tuple[Action, ...]] = {
    "created": ("pay", "decline", "expire"),
    "processing": ("pay", "decline"),
    "failed": ("pay", "decline", "expire"),
    "captured": ("refund",),
    "refunded": (),
    "expired": (),
}
_WITHOUT_CENTS = frozenset({"CLP", "JPY", "KRW", "PYG", "VND"})


@router.get("/", response_class=HTMLResponse)
async def payments_page(request: Request, here: Here, said: str = "") -> str:
    """The newest hundred payments."""
    payments = await here.read(ledger.newest, 100)
    webhooks = await here.read(outbox.find, None)
    last: dict[str, Row] = {copy["payment_id"]: copy for copy in webhooks}
    rows = "".join(_row(payment, last.get(payment["id"])) for payment in payments)
    content = _table(rows) if rows else _empty(str(request.base_url))
    return _PAGE.format(style=STYLE, notice=_notice(said), content=content)


@router.post("/payments/{payment_id}/{action}/form", response_class=RedirectResponse)
async def press(here: Here, payment_id: str, action: Action) -> RedirectResponse:
    """What a button does, and back to the page."""
    said = await _done(here, payment_id, action)
    return RedirectResponse(f"/?said={said}" if said else "/", status_code=303)


@router.get("/pay/{payment_id}", response_class=HTMLResponse)
async def buyers_page(here: Here, payment_id: str, said: str = "") -> str:
    """The payment's own page, for its buyer."""
    payment = await here.read(ledger.get, payment_id)
    return _BUYERS.format(
        style=STYLE,
        notice=_notice(said),
        amount=_money(payment["amount"], payment["currency"]),
        about=escape(payment["reference"] or payment["id"]),
        status=payment["status"],
        buttons=_buyers_buttons(payment),
        back=_way_back(payment["return_url"]),
    )


@router.post("/pay/{payment_id}/{action}", response_class=RedirectResponse)
async def press_as_buyer(here: Here, payment_id: str, action: Literal["pay", "decline"]) -> RedirectResponse:
    """What a button does, and back to the payment's own page."""
    said = await _done(here, payment_id, action)
    return RedirectResponse(f"/pay/{quote(payment_id, safe='')}" + (f"?said={said}" if said else ""), status_code=303)


async def _done(here: Sandbox, payment_id: str, action: Action) -> str:
    """Nothing when it was done, else why not."""
    acts: Mapping[Action, Callable[..., Row]] = {
        "pay": ledger.pay,
        "decline": lambda db, id_, behaviour: ledger.decline(db, id_, "declined on the page", behaviour),
        "expire": ledger.expire,
        "refund": lambda db, id_, behaviour: ledger.refund(db, id_, None, behaviour),
    }
    try:
        await here.run(acts[action], payment_id, here.behaviour)
    except Refused as refused:
        return refused.code
    return ""


def _buyers_buttons(payment: Row) -> str:
    return "".join(
        f'<form method="post" action="/pay/{payment["id"]}/{action}"><button class="{action}">{action.title()}</button>'
        "</form>"
        for action in _BUTTONS[payment["status"]]
        if action in ("pay", "decline")
    )


def _way_back(url: str | None) -> str:
    return f'<p><a href="{escape(url)}">Back to the shop</a></p>' if url else ""


def _row(payment: Row, webhook: Row | None) -> str:
    buttons = "".join(
        f'<form method="post" action="/payments/{payment["id"]}/{action}/form">'
        f'<button class="{action}">{action.title()}</button></form>'
        for action in _BUTTONS[payment["status"]]
    )
    about = escape(payment["reference"] or "")
    return (
        f"<tr><td><code>{payment['id']}</code><small>{about}</small></td>"
        f"<td>{escape(payment['tenant'])}<small>{escape(payment['checkout_id'] or 'no checkout')}</small></td>"
        f'<td class="amount">{_money(payment["amount"], payment["currency"])}{_refunded(payment)}</td>'
        f'<td><span class="status {payment["status"]}">{payment["status"]}</span></td>'
        f"<td>{_delivery(webhook)}</td>"
        f'<td><div class="buttons">{buttons}</div></td></tr>'
    )


def _delivery(webhook: Row | None) -> str:
    if webhook is None:
        return "<small>nothing sent</small>"
    answer = webhook["last_status"] or webhook["last_error"] or "no answer yet"
    tries = f"{webhook['attempts']} {'try' if webhook['attempts'] == 1 else 'tries'}"
    return f"{escape(webhook['type'].removeprefix('payment.'))}: {webhook['state']}<small>{tries}, {answer}</small>"


def _refunded(payment: Row) -> str:
    back = payment["refunded_amount"]
    return f"<small>{_money(back, payment['currency'])} back</small>" if back else ""


def _money(minor: int, currency: str) -> str:
    return f"{minor:,} {currency}" if currency in _WITHOUT_CENTS else f"{minor // 100:,}.{minor % 100:02} {currency}"


def _notice(said: str) -> str:
    text = {"conflict": "That is not possible any more.", "not_found": "There is no such payment."}.get(said)
    return f'<p class="notice" role="status">{text}</p>' if text else ""


def _table(rows: str) -> str:
    return f"""<div class="scroll"><table><thead><tr><th>Payment</th><th>For</th><th class="amount">Amount</th>
<th>Status</th><th>Last webhook</th><th>You are the buyer's bank</th></tr></thead><tbody>{rows}</tbody></table></div>"""


def _empty(address: str) -> str:
    return f"""<div class="empty"><h2>No payments yet</h2><p>Create one for a checkout:</p>
<pre>curl -X POST {escape(address)}payments -H 'content-type: application/json' \\
  -d '{{"tenant": "demo", "checkout_id": "…", "amount": 5500, "currency": "COP"}}'</pre></div>"""


_BUYERS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pay {amount}</title><style>{style}</style></head>
<body><header><h1>Pay {amount}</h1><p>{about}. No money moves here.</p></header>
<main>{notice}<p><span class="status {status}">{status}</span></p><div class="buttons">{buttons}</div>{back}</main>
</body></html>"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sandbox gateway</title><style>{style}</style></head>
<body><header><h1>Sandbox gateway</h1><p>No money moves here. <a href="/">Refresh</a> · <a href="/docs">API</a> ·
<a href="/webhooks">Webhooks</a> · <a href="/ledger">Ledger</a></p></header>
<main>{notice}{content}</main></body></html>"""
