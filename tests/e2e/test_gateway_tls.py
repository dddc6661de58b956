"""A shop's own gateway over real TLS: asked at a pinned address, it must have the certificate of its name."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import activities.gateways.addresses as addresses
from activities.gateways.options import GatewayOptions
from activities.gateways.standard import gateway
from domain.errors import GatewayUnavailable
from domain.ids import PaymentId, TenantId
from tests.support.secrets import FixedSecrets
from tests.unit.test_gateway_answers import ANSWER
from tests.unit.test_standard_webhooks import NEW

DEMO = TenantId("demo")


def certificate(folder: Path, name: str) -> Path:
    """A self-signed one for this host name, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def serving(pem: Path, heard: list[str]) -> AsyncIterator[int]:
    """A gateway that answers every request with one payment; gives its port."""
    body = json.dumps(ANSWER).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("shown", "good"), [("gateway.example.com", True), ("evil.example.com", False)])
async def test_the_address_is_pinned_and_the_certificate_must_be_the_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str, good: bool
) -> None:
    async def looked_up(host: str, port: int) -> list[Any]:
        return [addresses._literal("127.0.0.1")]

    monkeypatch.setattr(addresses, "_looked_up", looked_up)
    monkeypatch.setattr(addresses, "is_public", lambda address: True)  # Here this machine plays the internet.
    pem, heard = certificate(tmp_path, shown), list[str]()
    async with serving(pem, heard) as port:
        secrets = FixedSecrets(
            {
                ("demo", "gateway/standard/url"): f"https://gateway.example.com:{port}/v1",
                ("demo", "gateway/standard/api-key"): "key-of-demo",
            }
        )
        trusting = ssl.create_default_context(cafile=str(pem))
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
            asked = gateway(GatewayOptions("http://gateway.invalid", NEW), client, secrets)
            if not good:
                with pytest.raises(GatewayUnavailable):
                    await asked.fetch(DEMO, PaymentId("pay_1"))
                assert heard == [], "the key went to somebody else"
                return
            found = await asked.fetch(DEMO, PaymentId("pay_1"))
    assert found is not None
    assert f"host: gateway.example.com:{port}\r\n" in heard[0]
    assert "authorization: bearer key-of-demo" in heard[0]
