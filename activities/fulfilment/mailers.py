"""Sending e-mails: by SMTP with TLS, or into a folder, where a developer finds them."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, Protocol

import aiosmtplib

from activities.fulfilment.outcomes import Never, NotYet
from activities.fulfilment.places import place

PATIENCE = 5.0
"""For a connection of our own that is free."""
SECONDS = 20.0
"""Of one command of the protocol; the attempt as a whole is bounded by the activity."""


class Mailer(Protocol):
    """Where e-mails go."""

    async def send(self, message: EmailMessage) -> None:
        """Hand the e-mail over. Raises NotYet when it may work later, Never when this e-mail is refused for good.

        Their texts name codes only: a server's answer repeats the address.
        """
        ...


@dataclass(frozen=True)
class SmtpServer:
    """How to reach the mail server."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    connections: int = 4


class SmtpMailer:
    """By SMTP (RFC 5321), a connection for each e-mail."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._places = asyncio.Semaphore(server.connections)
        self._tls = ssl.create_default_context(cafile=server.ca_file) if server.security != "none" else None

    async def send(self, message: EmailMessage) -> None:
        """See Mailer. With `starttls`, a server that does not offer it gets nothing."""
        server = self._server
        async with place(self._places, PATIENCE):
            try:
                await aiosmtplib.send(
                    message,
                    hostname=server.host,
                    port=server.port,
                    use_tls=server.security == "tls",
                    start_tls=server.security == "starttls",
                    tls_context=self._tls,
                    username=server.username,
                    password=server.password,
                    timeout=SECONDS,
                )
            except (aiosmtplib.SMTPException, OSError, ValueError) as error:
                failure = _judged(error)
            else:
                return
        raise failure  # Not from the error: its text may name the recipient.


def _judged(error: Exception) -> Exception:
    """Refused for good: the recipient or the content, by a reply of 5xx (RFC 5321, section 4.2.1).

    All else may be mended: what the server says before it knows of this e-mail is about us, and not about the e-mail.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [one.code for one in error.recipients]
        if codes and all(code >= 500 for code in codes):
            return Never(f"mail_refused_{codes[0]}")
        return NotYet(f"the mail server does not take the recipient now ({codes[0] if codes else 'no code'})")
    if isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPRecipientRefused) and error.code >= 500:
        return Never(f"mail_refused_{error.code}")
    code = f" {error.code}" if isinstance(error, aiosmtplib.SMTPResponseException) else ""
    return NotYet(f"the mail server: {type(error).__name__}{code}")


class FolderMailer:
    """Each e-mail a file `<Message-ID>.eml`, there as a whole or not at all; the same e-mail is the same file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """See Mailer."""
        try:
            await asyncio.to_thread(self._put, message["Message-ID"].strip("<>"), message.as_bytes())
        except OSError as error:
            failure = NotYet(f"the folder for e-mails: {type(error).__name__}")
        else:
            return
        raise failure

    def _put(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(self._folder / f"{name}.eml")
