"""Sending e-mails to a real mail server, with TLS and a login, and what its answers mean."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

import aiosmtplib
import pytest

from activities.fulfilment import mailers
from activities.fulfilment.mail_message import message_of
from activities.fulfilment.mailers import FolderMailer, SmtpMailer, SmtpServer
from activities.fulfilment.outcomes import Never, NotYet
from local.ports import free_port
from tests.support.mail import mail_server, pdf_of, text_of
from tests.unit.test_mail_texts import confirmation, envelope

PDF = b"%PDF-1.7 " + bytes(range(256)) * 400


def a_message() -> EmailMessage:
    return message_of(envelope(), confirmation("Ñandú"), "es", pdf=PDF, file_name="entradas.pdf")


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_email_arrives_encrypted_and_whole(security: Literal["starttls", "tls"]) -> None:
    async with mail_server(security) as server:
        await SmtpMailer(server.reach()).send(a_message())
    [received] = server.messages
    assert server.recipients == [["ana@example.com"]]
    assert server.tls == [True]
    assert "Ñandú" in text_of(received, "plain")
    assert "Ñandú" in text_of(received, "html")
    assert pdf_of(received) == PDF
    assert received["Message-ID"] == a_message()["Message-ID"]


async def test_a_server_without_starttls_is_given_nothing() -> None:
    async with mail_server("none") as server:
        with pytest.raises(NotYet):
            await SmtpMailer(server.reach(security="starttls")).send(a_message())
    assert server.messages == []


async def test_a_server_whose_certificate_is_not_known_is_given_nothing() -> None:
    async with mail_server("starttls") as server:
        with pytest.raises(NotYet):
            await SmtpMailer(server.reach(ca_file=None)).send(a_message())
    assert server.messages == []


async def test_a_wrong_password_may_be_mended_and_is_tried_again() -> None:
    async with mail_server() as server:
        with pytest.raises(NotYet, match="535"):
            await SmtpMailer(server.reach(password="wrong")).send(a_message())


@pytest.mark.parametrize(
    ("rcpt", "data", "outcome", "why"),
    [
        ("450 try later", "", NotYet, "450"),
        ("421 closing", "", NotYet, "mail server"),
        ("550 no such user", "", Never, "mail_refused_550"),
        ("", "451 try later", NotYet, "451"),
        ("", "452 full", NotYet, "452"),
        ("", "554 spam", Never, "mail_refused_554"),
        ("", "552 too large", Never, "mail_refused_552"),
    ],
)
async def test_the_servers_answer_decides_whether_it_is_tried_again_and_is_not_repeated(
    rcpt: str, data: str, outcome: type[Exception], why: str
) -> None:
    async with mail_server() as server:
        server.rcpt_answer, server.data_answer = rcpt, data
        with pytest.raises(outcome, match=why) as failed:
            await SmtpMailer(server.reach()).send(a_message())
    assert "ana" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None, "Temporal would keep its text"
    assert server.messages == []


async def test_a_server_that_is_down_is_tried_again() -> None:
    server = SmtpServer("127.0.0.1", free_port(), "none")
    with pytest.raises(NotYet):
        await SmtpMailer(server).send(a_message())


async def test_no_more_connections_than_allowed() -> None:
    async with mail_server() as server:
        mailer = SmtpMailer(server.reach(connections=2))
        await asyncio.gather(*(mailer.send(a_message()) for _ in range(8)))
    assert len(server.messages) == 8


async def test_an_email_becomes_a_whole_file_and_its_repeat_the_same_file(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    for _ in range(2):
        await FolderMailer(folder).send(a_message())
    [file] = folder.iterdir()
    assert file.suffix == ".eml"
    assert b"entradas.pdf" in file.read_bytes()


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotYet, match="folder"):
        await FolderMailer(tmp_path / "file" / "mail").send(a_message())


async def test_who_finds_all_connections_in_use_waits_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailers, "PATIENCE", 0.05)
    taken = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        taken.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(aiosmtplib, "send", hang)
    mailer = SmtpMailer(SmtpServer("127.0.0.1", 1, connections=1, security="none"))
    first = asyncio.create_task(mailer.send(a_message()))
    await taken.wait()
    with pytest.raises(NotYet, match="taken"):
        await mailer.send(a_message())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    monkeypatch.setattr(aiosmtplib, "send", answered)
    await mailer.send(a_message())


async def answered(*_: object, **__: object) -> None:
    """A server that takes everything."""
