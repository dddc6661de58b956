"""Settings, read from the environment (`HOLDFAST_*`) by worker.py, cli.py and the API's app factory only."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from activities.gateways.options import GatewayOptions

DEVELOPMENT_SECRET = "holdfast-development-secret-never-use-in-production"  # noqa: S105  # refused outside development
DEVELOPMENT_WEBHOOK_SECRET = "whsec_aG9sZGZhc3QtZGV2ZWxvcG1lbnQtd2ViaG9vay1zZWNyZXQ="  # noqa: S105  # likewise

DEVELOPMENT_SECRET_KEYS = "development:aG9sZGZhc3QtZGV2ZWxvcG1lbnQtc2VjcmV0cy1rZXk="  # noqa: S105  # likewise

DEVELOPMENT_TICKET_KEYS = "development:aG9sZGZhc3QtZGV2ZWxvcG1lbnQtdGlja2V0cy1rZXk="  # likewise

LOCAL_HOSTS = ("localhost", "*.localhost", "127.0.0.1", "[::1]")
"""What a developer calls the API."""


class UnsafeSettings(ValueError):
    """A default that is safe only in development was left in place elsewhere."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list in one variable, with commas between."""


def _no_stranger(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(f"{network!r} is no address and no network, such as 10.0.0.0/8") from None
    return value


def _names_a_host(value: tuple[str, ...]) -> tuple[str, ...]:
    for host in value:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is no host name without a port, such as shop.example.com or *.shop.example.com")
    return value


def _names_an_origin(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if not _ORIGIN.fullmatch(origin) or origin.endswith(_DEFAULT_PORTS[origin.partition(":")[0]]):
            raise ValueError(
                f"{origin!r} is no origin as browsers send it, such as https://shop.example.com:"
                " no *, no path, no default port, lower case"
            )
    return value


def _pairs_scopes(value: tuple[str, ...]) -> tuple[str, ...]:
    for pair in value:
        if pair.rpartition("=")[2] not in _SCOPES or not pair.rpartition("=")[0]:
            raise ValueError(f"{pair!r} is not theirs=ours, where ours is one of {', '.join(_SCOPES)}")
    return value


def _refuse_open_keys(url: SplitResult, development: bool) -> None:
    """Keys that came in the clear could be anybody's."""
    loopback = url.hostname in {"127.0.0.1", "::1", "localhost"}
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("HOLDFAST_OUTSIDE_JWKS_URL must be a URL such as https://issuer.example.com/keys")
    if url.scheme != "https" and not (loopback or development):
        raise UnsafeSettings("HOLDFAST_OUTSIDE_JWKS_URL must be https, except on this machine itself")


def _is_a_key_ring(value: SecretStr) -> SecretStr:
    ids = [part.partition(":")[0].strip() for part in value.get_secret_value().split(",")]
    if not all(_KEY.fullmatch(part.strip()) for part in value.get_secret_value().split(",")) or len(set(ids)) < len(
        ids
    ):
        raise ValueError(
            "it is id:key,id:key with ids of letters, digits, . _ - (each once), keys of 32 bytes in base64"
        )
    return value


def _is_an_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"{value!r} is no plain e-mail address, such as tickets@shop.example.com")
    return value


_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}")
_SCOPES = ("buyer", "service", "admin", "operator")
_NAME = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,32}:[A-Za-z0-9+/]{43}=")
"""Of a key ring: an id, and 32 bytes in base64."""
_HOST = re.compile(rf"(?:\*\.)?(?:{_NAME})")
_ORIGIN = re.compile(rf"https?://(?:{_NAME})(?::[0-9]{{1,5}})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
Hosts = Annotated[Names, AfterValidator(_names_a_host)]
Origins = Annotated[Names, AfterValidator(_names_an_origin)]
ScopePairs = Annotated[Names, AfterValidator(_pairs_scopes)]
Networks = Annotated[Names, AfterValidator(_no_stranger)]
Algorithms = Annotated[
    tuple[Literal["ES256", "EdDSA", "RS256"], ...], NoDecode, BeforeValidator(_split), Field(min_length=1)
]
KeyRingText = Annotated[SecretStr, AfterValidator(_is_a_key_ring)]
MailAddress = Annotated[str, AfterValidator(_is_an_address)]
PerMinute = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""Requests a minute; 0 does not limit."""


class Settings(BaseSettings):
    """What an installation is told. Every field is `HOLDFAST_<NAME>` in the environment.

    Temporal's own connection (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, TLS) is read by the SDK's
    envconfig, so that Temporal Cloud works without code.
    """

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", extra="ignore", hide_input_in_errors=True)

    env: Literal["development", "production"] = "production"
    database_url: SecretStr = SecretStr("postgresql://holdfast@127.0.0.1:5432/holdfast")
    """libpq URL of the API's and worker's database. Connections take the role `holdfast_app`, which owns nothing."""
    admin_database_url: SecretStr | None = None
    """libpq URL for migrations, the check and purges: a role that owns the tables and may bypass row-level security.
    The same as `database_url` when not given."""
    database_pool_size: int = Field(default=16, ge=1, le=200)

    api_host: str = "127.0.0.1"
    api_port: int = 8000
    api_processes: int = Field(default=1, ge=1, le=64)
    temporal_port: int = 7233
    temporal_ui_port: int = 8233
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8100
    postgres_port: int = 5433
    """Of the PostgreSQL that `holdfast up` starts. Not 5432, where a machine's own server usually is."""
    data_dir: Path = Path(".holdfast")
    default_tenant: str = "demo"
    task_queue: str = "holdfast"
    build_id: str | None = None
    """Turns Temporal's worker versioning on (checkouts pinned to this build)."""

    jwt_secret: SecretStr = SecretStr(DEVELOPMENT_SECRET)
    jwt_issuer: str = "holdfast"
    jwt_audience: str = "holdfast-api"
    jwt_previous_secret: SecretStr | None = None
    """Still verifies access tokens, while `jwt_secret` is replaced."""
    access_token_seconds: int = Field(default=900, ge=1, le=86_400)
    refresh_token_seconds: int = Field(default=604_800, ge=1, le=31_536_000)
    """How long a login lasts, however often it is refreshed."""
    session_token_seconds: int = Field(default=86_400, ge=1, le=31_536_000)
    """How long an anonymous session lasts; longer where a tenant's holds can."""
    outside_issuer: str | None = None
    """The `iss` of an outside issuer whose access tokens are good here; with it, audience and JWKS URL are needed."""
    outside_audience: str | None = None
    outside_jwks_url: str | None = None
    outside_algorithms: Algorithms = ("ES256", "EdDSA", "RS256")
    outside_token_types: Annotated[Names, Field(min_length=1)] = ("at+jwt",)
    """Accepted `typ` headers (RFC 9068: at+jwt). An issuer that says only JWT cannot be told from one of ID tokens."""
    outside_tenant_claim: str = "tenant"
    outside_scope_claim: str = "scope"
    outside_scopes: ScopePairs = ("buyer=buyer",)
    """Which of our scopes each of its scopes gives, as theirs=ours."""
    buyer_hash_key: SecretStr = SecretStr(DEVELOPMENT_SECRET)
    """Keys the hash of the buyer that Temporal's search attributes show."""
    secret_keys: KeyRingText = SecretStr(DEVELOPMENT_SECRET_KEYS)
    """The key ring that seals tenants' secrets: `k2:<base64>,k1:<base64>`. The first one seals, all of them open."""

    ticket_keys: KeyRingText = SecretStr(DEVELOPMENT_TICKET_KEYS)
    """The key ring that signs tickets (Ed25519 seeds): `k2:<base64>,k1:<base64>`. The first one signs, all verify."""

    mail_from: MailAddress = "no-reply@holdfast.localhost"
    """The address that e-mails come from; the shop's name stands before it."""
    mail_dir: Path | None = None
    """Where e-mails are put as files, instead of being sent. See `mail_folder`."""
    smtp_host: str | None = None
    """The mail server. None: e-mails are files, or (in production) are not sent."""
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_ca_file: Path | None = None
    """Certificates that the mail server's is checked with, instead of the system's."""
    smtp_connections: int = Field(default=4, ge=1, le=100)
    """To the mail server at once, from one worker."""
    template_dir: Path | None = None
    """Shops' own templates of e-mails: `<tenant>/<language>/<name>`."""
    whatsapp_url: str = "https://graph.facebook.com/v23.0"
    """Of the WhatsApp Cloud API, for shops that have the secret notify/whatsapp."""
    sms_url: str = "https://api.twilio.com"
    """Of a Twilio-compatible API, for shops that have the secret notify/sms."""
    pdf_processes: int = Field(default=1, ge=1, le=64)
    """That render tickets, of one worker."""
    pdf_seconds: float = Field(default=30.0, gt=0)
    """How long one document may take to render."""

    sandbox_gateway_url: str = "http://127.0.0.1:8100"
    sandbox_gateway_secret: SecretStr = SecretStr(DEVELOPMENT_WEBHOOK_SECRET)
    """Standard Webhooks secret (`whsec_` and base64) that the sandbox gateway signs with."""
    sandbox_webhook_url: str | None = None
    """Where the sandbox gateway finds the API. None: on this machine, at `api_port`."""
    sandbox_public_url: str | None = None
    """Where buyers' browsers find the sandbox gateway. None: where the API does."""
    stripe_api_base: str | None = None
    """Where Stripe is, if not at Stripe: a stand-in for tests. Refused in production."""

    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    max_body_seconds: float = Field(default=10.0, gt=0)
    """How long a request's body may take to arrive."""
    max_inflight_starts: int = Field(default=16, ge=1)
    """Starts in flight at once in one API process, shared between tenants in turn; more wait briefly, then get 503."""
    max_streams: int = Field(default=1_000, ge=0)
    """Streams of checkouts' events at once in one API process."""
    max_streams_per_buyer: int = Field(default=10, ge=0)
    stream_keep_alive_seconds: float = Field(default=15.0, gt=0)
    """Between two signs of life in a stream, for proxies that close what is silent."""
    stream_linger_seconds: float = Field(default=60.0, ge=0)
    """How long a stream goes on after its checkout's end, for the tickets or a refund."""
    rate_limit_login: PerMinute = 10
    rate_limit_refresh: PerMinute = 10
    rate_limit_sessions: PerMinute = 30
    rate_limit_refused_tokens: PerMinute = 60
    """These four for each address, the others for each caller."""
    rate_limit_writes: PerMinute = 120
    rate_limit_reads: PerMinute = 600
    rate_limit_service_writes: PerMinute = 12_000
    rate_limit_service_reads: PerMinute = 60_000
    rate_limit_storage: str = "memory"
    """Where requests are counted: `memory` (each process for itself), or what the library `limits` knows."""
    trusted_proxies: Networks = ()
    """Addresses and networks whose X-Forwarded-For says where a request comes from."""
    allowed_hosts: Hosts = ()
    """What Host headers may name, without ports. See `hosts`."""
    cors_origins: Origins = ()
    """Where pages come from that may call the API."""
    log_format: Literal["json", "console"] = "json"
    log_dir: Path | None = None
    """Where the logs `auth` and `security` have files of their own."""

    @model_validator(mode="after")
    def _refuse_development_secrets(self) -> Settings:
        if self.env == "development":
            return self
        for name in ("jwt_secret", "jwt_previous_secret", "buyer_hash_key"):
            secret: SecretStr | None = getattr(self, name)
            if secret is None:
                continue
            if secret.get_secret_value() == DEVELOPMENT_SECRET or len(secret.get_secret_value()) < 32:
                raise UnsafeSettings(
                    f"HOLDFAST_{name.upper()} must be set to a secret of at least 32 characters"
                    " (or set HOLDFAST_ENV=development on a developer's machine)"
                )
        if self.sandbox_gateway_secret.get_secret_value() == DEVELOPMENT_WEBHOOK_SECRET:
            raise UnsafeSettings("HOLDFAST_SANDBOX_GATEWAY_SECRET must be set to a secret of its own")
        if self.stripe_api_base is not None:
            raise UnsafeSettings("HOLDFAST_STRIPE_API_BASE must not be set: it is for tests, and would see API keys")
        if DEVELOPMENT_SECRET_KEYS.partition(":")[2] in self.secret_keys.get_secret_value():
            raise UnsafeSettings("HOLDFAST_SECRET_KEYS must be set to a key ring of its own: id:<32 bytes in base64>")
        if DEVELOPMENT_TICKET_KEYS.partition(":")[2] in self.ticket_keys.get_secret_value():
            raise UnsafeSettings("HOLDFAST_TICKET_KEYS must be set to a key ring of its own: id:<32 bytes in base64>")
        return self

    @model_validator(mode="after")
    def _refuse_every_host(self) -> Settings:
        if self.env != "development" and not self.allowed_hosts:
            raise UnsafeSettings("HOLDFAST_ALLOWED_HOSTS must name the hosts that the API answers for")
        return self

    @model_validator(mode="after")
    def _refuse_open_mail(self) -> Settings:
        """Passwords, and what buyers bought, do not travel in the clear."""
        near = self.smtp_host in {None, "127.0.0.1", "::1", "localhost"}
        if self.smtp_security == "none" and not (near or self.env == "development"):
            raise UnsafeSettings("HOLDFAST_SMTP_SECURITY must be starttls or tls, except on this machine itself")
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("HOLDFAST_SMTP_USERNAME and HOLDFAST_SMTP_PASSWORD must be set together")
        return self

    @model_validator(mode="after")
    def _refuse_half_an_issuer(self) -> Settings:
        given = (self.outside_issuer, self.outside_audience, self.outside_jwks_url)
        if any(given) and not all(given):
            raise ValueError(
                "HOLDFAST_OUTSIDE_ISSUER, HOLDFAST_OUTSIDE_AUDIENCE and HOLDFAST_OUTSIDE_JWKS_URL must be set together"
            )
        if self.outside_jwks_url:
            _refuse_open_keys(urlsplit(self.outside_jwks_url), self.env == "development")
        return self

    @property
    def hosts(self) -> tuple[str, ...]:
        """What Host headers may name: in development, this machine if nothing else."""
        return self.allowed_hosts or LOCAL_HOSTS

    @property
    def mail_folder(self) -> Path | None:
        """Where e-mails are put as files, if they are."""
        if self.mail_dir is None and self.smtp_host is None and self.env == "development":
            return self.data_dir / "mail"
        return self.mail_dir

    @property
    def gateways(self) -> GatewayOptions:
        """What the gateways' adapters are told. In production there is a sandbox only where somebody says where."""
        sandbox = self.env == "development" or "sandbox_gateway_url" in self.model_fields_set
        return GatewayOptions(
            self.sandbox_gateway_url if sandbox else None,
            self.sandbox_gateway_secret.get_secret_value(),
            self.stripe_api_base,
            development=self.env == "development",
        )

    @property
    def admin_url(self) -> str:
        return (self.admin_database_url or self.database_url).get_secret_value()
