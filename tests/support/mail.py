"""A real mail server for tests: SMTP with STARTTLS or TLS, and a login; it keeps what it is given, or says no."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from activities.fulfilment.mailers import SmtpServer

USER, PASSWORD = "holdfast", "correct horse"


@dataclass
class MailServer:
    """What the server took, and what it shall say instead of taking."""

    port: int = 0
    security: Literal["starttls", "tls", "none"] = "starttls"
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    """Of each message: whether it came encrypted."""
    rcpt_answer: str = ""
    data_answer: str = ""
    """Such as `451 try later`; empty: takes it."""
    takes_then_fails: bool = False
    """The message is kept, and the sender told that it was not."""

    def reach(self, **changes: Any) -> SmtpServer:
        """How to send to it."""
        usual = {"security": self.security, "username": USER, "password": PASSWORD, "ca_file": certificate()[0]}
        return SmtpServer("127.0.0.1", self.port, **{**usual, **changes})

    # What aiosmtpd calls.
    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt_answer:
            return f"{self.rcpt_answer} <{address}>"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data_answer:
            return self.data_answer
        content = envelope.content
        assert isinstance(content, bytes)
        self.messages.append(message_from_bytes(content, policy=policy.SMTP))
        self.recipients.append(list(envelope.rcpt_tos))
        self.tls.append(session.ssl is not None or self.security == "tls")
        return "451 lost it" if self.takes_then_fails else "250 OK"


def text_of(message: EmailMessage, kind: str) -> str:
    """The `plain` or `html` part."""
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


def pdf_of(message: EmailMessage) -> bytes | None:
    """The attached PDF, if there is one."""
    for part in message.iter_attachments():
        assert part.get_content_type() == "application/pdf"
        content: bytes = part.get_content()
        return content
    return None


@asynccontextmanager
async def mail_server(
    security: Literal["starttls", "tls", "none"] = "starttls", port: int = 0
) -> AsyncIterator[MailServer]:
    """Serve on loopback until the end, in this loop. `port` 0: a free one."""
    kept = MailServer(security=security)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate())

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=(data.login.decode(), data.password.decode()) == (USER, PASSWORD), handled=False)

    connections: list[SMTP] = []

    def serve() -> SMTP:
        with warnings.catch_warnings():
            # It knows of no TLS from the first byte, and warns of logins in the clear.
            warnings.simplefilter("ignore", UserWarning)
            one = SMTP(
                kept,
                hostname="mail.test",
                tls_context=context if security == "starttls" else None,
                require_starttls=security == "starttls",
                auth_required=True,
                auth_require_tls=security == "starttls",
                authenticator=authenticate,
            )
        connections.append(one)
        return one

    loop = asyncio.get_running_loop()
    server = await loop.create_server(serve, "127.0.0.1", port, ssl=context if security == "tls" else None)
    kept.port = server.sockets[0].getsockname()[1]
    try:
        yield kept
    finally:
        server.close()
        for one in connections:
            if one.transport is not None:
                one.transport.close()
        await server.wait_closed()


@cache
def certificate() -> tuple[Path, Path]:
    """(certificate, key) of a server at 127.0.0.1, signed by itself."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = Path(mkdtemp(prefix="holdfast-tls-"))
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths
