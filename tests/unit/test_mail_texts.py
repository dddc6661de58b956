"""E-mails' texts: both languages, hostile names, shops' own templates; and the message they become."""

from __future__ import annotations

import logging
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest

from activities.fulfilment.mail_message import Envelope, message_of
from activities.fulfilment.mail_templates import Templates, Texts
from activities.fulfilment.mail_view import order_view, refund_view
from activities.fulfilment.outcomes import Never
from activities.fulfilment.plain_text import plain
from activities.fulfilment.wording import moment, money
from db.order_facts import Looks
from db.refund_notices import RefundFacts
from domain.ids import CheckoutId, PaymentId, TenantId
from domain.tenant_settings import LANGUAGES
from tests.support.fulfilment import LOOKS, NOON, ORDER, a_line, a_seat, an_order
from tests.support.mail import pdf_of, text_of
from tests.unit.test_ticket_pdf import HOSTILE

DEMO = TenantId("demo")
EFFECT = UUID("11111111-2222-5333-8444-555555555555")


def confirmation(name: str = "Café", language: str = "es", buyer: str | None = None, *, tickets: bool = True) -> Texts:
    order = an_order(a_line(1, name, 2), a_seat(2))
    return Templates().texts(DEMO, language, "confirmation", order_view(order, buyer, language, tickets=tickets))


def envelope(recipient: str = "ana@example.com", shop: str = "La Esquina") -> Envelope:
    return Envelope(shop, "no-reply@shop.example.com", recipient, EFFECT)


def as_received(message: EmailMessage) -> EmailMessage:
    received = message_from_bytes(message.as_bytes(), policy=policy.SMTP)
    assert isinstance(received, EmailMessage)
    return received


def test_a_confirmation_says_the_same_in_text_and_html() -> None:
    texts = confirmation(buyer="Ana")
    for said in (texts.text, texts.html):
        for wanted in (
            "Hola, Ana:",
            "Café",
            "20,00 COP",
            "30,00 COP",
            "Platea",
            "Fila A, Asiento 12",
            ORDER,
            "pendiente",
        ):
            assert wanted in said, wanted
    assert texts.subject == "Tu pedido 0D6F1F0A está confirmado"


def test_it_is_in_english_too() -> None:
    texts = confirmation(language="en", buyer="Ana")
    assert texts.subject == "Your order 0D6F1F0A is confirmed"
    for said in (texts.text, texts.html):
        for wanted in ("Hello Ana,", "20.00 COP", "Row A, Seat 12", "Fiscal number: pending"):
            assert wanted in said, wanted
        assert "pedido" not in said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["confirmation", "tickets", "refund"])
def test_every_email_exists_in_every_language(name: str, language: str) -> None:
    view = {
        **order_view(an_order(), None, language, tickets=True),
        **refund_view(LOOKS, RefundFacts(CheckoutId(ORDER), 100, "COP", "late", NOON), PaymentId("p"), None, language),
    }
    texts = Templates().texts(DEMO, language, name, view)
    assert texts.subject
    assert texts.text.strip()
    assert f'<html lang="{language}">' in texts.html


def test_without_the_tickets_it_says_that_they_follow() -> None:
    assert "otro correo" in confirmation(tickets=False).text
    assert "otro correo" not in confirmation(tickets=True).text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_text_and_nothing_else(name: str) -> None:
    texts = confirmation(name, buyer=name)
    assert "<script" not in texts.html
    assert "<b>bold" not in texts.html
    assert "49" not in texts.text.replace("{{ 7*7 }}", "")
    assert len(texts.html) < 20_000
    message = as_received(message_of(envelope(shop=name or "x"), texts, "es"))
    assert message["To"] == "ana@example.com"
    assert [one for one in message if one.lower() == "subject"] == ["Subject"]
    assert message["Subject"] == texts.subject


def test_the_message_has_both_parts_the_pdf_and_a_message_id_that_a_repeat_has_too() -> None:
    texts = confirmation("Ñandú")
    first, again = [
        as_received(message_of(envelope(), texts, "es", pdf=b"%PDF-x", file_name="entradas-1.pdf")) for _ in range(2)
    ]
    assert first["Message-ID"] == again["Message-ID"] == f"<{EFFECT}@shop.example.com>"
    assert first["From"] == "La Esquina <no-reply@shop.example.com>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Date"]
    assert "Ñandú" in text_of(first, "plain")
    assert "Ñandú" in text_of(first, "html")
    assert pdf_of(first) == b"%PDF-x"
    assert [part.get_filename() for part in first.iter_attachments()] == ["entradas-1.pdf"]


@pytest.mark.parametrize("bad", ["", "ana", "ana@x.com\r\nBcc: all@x.com", "a b@x.com", "@", "a@b@c"])
def test_an_address_that_is_none_never_becomes_a_header(bad: str) -> None:
    with pytest.raises(Never, match="bad_address"):
        message_of(envelope(bad), confirmation(), "es")


def own(folder: Path, name: str, text: str) -> Templates:
    path = folder / "demo" / "es" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Templates(folder)


def view() -> dict[str, object]:
    return order_view(an_order(), None, "es", tickets=True)


def test_a_shops_own_template_comes_first_and_only_for_that_shop_and_language(tmp_path: Path) -> None:
    templates = own(tmp_path, "confirmation.subject.txt", "Listo: {{ order.short }}\n")
    assert templates.texts(DEMO, "es", "confirmation", view()).subject == "Listo: 0D6F1F0A"
    assert templates.texts(TenantId("other"), "es", "confirmation", view()).subject.startswith("Tu pedido")
    assert templates.texts(DEMO, "en", "confirmation", view()).subject.startswith("Your order")


def test_a_shops_own_html_may_use_our_frame_and_is_escaped(tmp_path: Path) -> None:
    text = '{% extends "base.html" %}{% block content %}<p>{{ order.lines[0].title }}</p>{% endblock %}'
    templates = own(tmp_path, "confirmation.html", text)
    given = order_view(an_order(a_line(1, "<i>x</i>")), None, "es", tickets=True)
    html = templates.texts(DEMO, "es", "confirmation", given).html
    assert "<p>&lt;i&gt;x&lt;/i&gt;</p>" in html
    assert "#7a1f3d" in html


@pytest.mark.parametrize(
    "broken",
    [
        "{{ nothing }}",
        "{% if %}",
        "{{ order.__class__.__mro__ }}",
        "{{ order.lines.append(1) }}",
        "{{ 1 // 0 }}",
        "{{ range(10**12) | list }}",
        '{% include "../../../../etc/passwd" %}',
    ],
)
def test_a_shops_template_that_does_not_work_gives_way_to_ours(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    texts = own(tmp_path, "confirmation.subject.txt", broken).texts(DEMO, "es", "confirmation", view())
    assert texts.subject == "Tu pedido 0D6F1F0A está confirmado"


def test_a_subject_of_several_lines_becomes_one(tmp_path: Path) -> None:
    templates = own(tmp_path, "confirmation.subject.txt", "Hola\nBcc: all@example.com\r\n\r\nX")
    subject = templates.texts(DEMO, "es", "confirmation", view()).subject
    assert subject == "Hola Bcc: all@example.com X"


def test_text_on_a_bright_colour_is_dark() -> None:
    assert order_view(an_order(looks=Looks("x", "es", "UTC", "#ffee88", None)), None, "es", tickets=True)["shop"] == {
        "name": "x", "logo": "x", "color": "#ffee88", "on_color": "#1c2430",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "currency", "spanish", "english"),
    [
        (123456, "COP", "1.234,56 COP", "1,234.56 COP"),
        (-5, "USD", "-0,05 USD", "-0.05 USD"),
        (1234567, "JPY", "1.234.567 JPY", "1,234,567 JPY"),
        (1234567, "KWD", "1.234,567 KWD", "1,234.567 KWD"),
        (0, "EUR", "0,00 EUR", "0.00 EUR"),
    ],
)
def test_amounts_are_written_as_the_language_does(amount: int, currency: str, spanish: str, english: str) -> None:
    assert (money(amount, currency, "es"), money(amount, currency, "en")) == (spanish, english)


def test_times_are_the_shops_and_in_utc_where_its_zone_is_not_known() -> None:
    assert moment(NOON, "America/Bogota", "es") == "22 nov 2026, 12:00 (America/Bogota)"
    assert moment(NOON, "Nowhere/Town", "en") == "22 Nov 2026, 17:00 (UTC)"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_cleaned_text_is_one_bounded_line_and_never_empty(text: str) -> None:
    cleaned = plain(text, 50)
    assert 1 <= len(cleaned) <= 50
    assert cleaned.isprintable() or all(one.isprintable() or one in "\u200d\ufe0f" for one in cleaned)
    assert not set(cleaned) & set("\u202e\u202d\u2066\r\n\x00")
    assert cleaned == plain(cleaned, 50)
