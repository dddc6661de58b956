"""A tenant's settings and secrets as its administrators send and see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from api.models import Answer, StrictModel
from db.tenant_secrets import SecretName
from domain.catalogue import NAME_PATTERN
from domain.ids import TenantId
from domain.tenant_secrets import MAX_SECRET
from domain.tenant_settings import (
    COLOR_PATTERN,
    MAX_LOGO,
    MAX_NAME,
    MAX_RATE,
    MAX_TAX_CLASSES,
    MAX_TAX_NAME,
    MAX_TIME_ZONE,
    RANGES,
    SERIES_PATTERN,
    WHATSAPP_PATTERN,
    TenantSettings,
    stored,
)


def _number(name: str, description: str) -> Any:
    least, most = RANGES[name]
    return Field(ge=least, le=most, description=description)


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=NAME_PATTERN, examples=["Corner shop"])]
Currency = Annotated[
    str,
    Field(
        pattern=r"^[A-Z]{3}$",
        description="ISO 4217. Cannot change once there are checkouts (409 `currency_in_use`).",
        examples=["COP"],
    ),
]
HoldSeconds = Annotated[int, _number("hold_seconds", "How long a new hold lasts.")]
ExtensionSeconds = Annotated[int, _number("extension_seconds", "The most that one extension gives.")]
MaximumSeconds = Annotated[
    int, _number("maximum_seconds", "How far a hold may be extended from its start; not below `hold_seconds`.")
]
WarningSeconds = Annotated[int, _number("warning_seconds", "How long before a hold's end its buyer is warned.")]
AutoExtend = Annotated[
    bool,
    Field(description="Whether holds extend by themselves: by the client at the warning, once when a payment starts."),
]
MaxLines = Annotated[int, _number("max_lines", "Lines of a cart or checkout.")]
MaxHeldLines = Annotated[int, _number("max_held_lines", "Lines that one session or user holds at once.")]
MaxPerOwner = Annotated[int | None, _number("max_checkouts_per_owner", "Live checkouts of one owner; null: any.")]
MaxPerAddress = Annotated[
    int | None, _number("max_checkouts_per_address", "Live checkouts from one address; null: any.")
]
Cooldown = Annotated[
    int, _number("cooldown_seconds", "How long after an expiry the same buyer may not start again; 0: at once.")
]
LatePaymentsField = Annotated[
    Literal["reserve", "equivalent", "refund"],
    Field(
        description="A payment after the hold's end: `reserve` the same again if it is free (`equivalent`: or as many"
        " other seats of the same zone), else refund it; or always `refund`."
    ),
]
PaymentGrace = Annotated[
    int, _number("payment_grace_seconds", "How long after its end a hold waits at most for a payment in flight.")
]
WhatsApp = Annotated[str | None, Field(pattern=WHATSAPP_PATTERN, description="E.164.", examples=["+573001234567"])]

Language = Annotated[
    Literal["es", "en"], Field(description="In which buyers are written to who have not chosen another.")
]
TimeZone = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TIME_ZONE,
        pattern=r"^[A-Za-z0-9_+/-]+$",
        description="Of the times on tickets and in e-mails: a name of the IANA's database.",
        examples=["America/Bogota"],
    ),
]
BrandColor = Annotated[
    str, Field(pattern=COLOR_PATTERN, description="Of e-mails and tickets, in lower case.", examples=["#1f3a5f"])
]
LogoText = Annotated[
    str | None,
    Field(
        max_length=MAX_LOGO,
        pattern=NAME_PATTERN,
        description="What stands at the head of e-mails and tickets; null: the name.",
        examples=["CORNER"],
    ),
]


class TaxClassField(StrictModel):
    """A tax rate, from a day on."""

    name: str = Field(min_length=1, max_length=MAX_TAX_NAME, pattern=NAME_PATTERN, examples=["IVA 19 %"])
    rate_basis_points: int = Field(ge=0, le=MAX_RATE, description="1900 is 19 %.", examples=[1900])
    included: bool = Field(description="Whether prices include it.")
    valid_from: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A day.", examples=["2026-01-01"])


TaxClasses = Annotated[
    list[TaxClassField],
    Field(max_length=MAX_TAX_CLASSES, description="All of them. Of a name, the newest that is valid counts."),
]

FiscalSeries = Annotated[
    str | None,
    Field(
        pattern=SERIES_PATTERN,
        description="The series that orders have their fiscal numbers of; null: they have none.",
        examples=["invoices"],
    ),
]


class TenantPatch(StrictModel):
    """What to change; fields that are not sent stay. What is null means: none."""

    # Factories, not defaults: a field may be left out, but null is not one of its values.
    name: Name = Field(default_factory=str)
    currency: Currency = Field(default_factory=str)
    hold_seconds: HoldSeconds = Field(default_factory=int)
    extension_seconds: ExtensionSeconds = Field(default_factory=int)
    maximum_seconds: MaximumSeconds = Field(default_factory=int)
    warning_seconds: WarningSeconds = Field(default_factory=int)
    auto_extend: AutoExtend = Field(default_factory=bool)
    max_lines: MaxLines = Field(default_factory=int)
    max_held_lines: MaxHeldLines = Field(default_factory=int)
    max_checkouts_per_owner: MaxPerOwner = None
    max_checkouts_per_address: MaxPerAddress = None
    cooldown_seconds: Cooldown = Field(default_factory=int)
    late_payments: LatePaymentsField = "reserve"
    payment_grace_seconds: PaymentGrace = Field(default_factory=int)
    tax_classes: TaxClasses = Field(default_factory=list)
    fiscal_series: FiscalSeries = None
    whatsapp_number: WhatsApp = None
    language: Language = "es"
    time_zone: TimeZone = Field(default_factory=str)
    brand_color: BrandColor = Field(default_factory=str)
    logo_text: LogoText = None

    def as_changes(self) -> dict[str, Any]:
        """The fields that were sent, in the form of `domain.tenant_settings.stored`."""
        return self.model_dump(exclude_unset=True)


class OperatorsTenantPatch(TenantPatch):
    """What an installation's operators may change besides."""

    disabled: bool = Field(default_factory=bool)


class TenantOut(Answer):
    """A tenant's settings. Seconds are seconds."""

    id: str = Field(examples=["demo"])
    name: Name
    currency: Currency
    hold_seconds: HoldSeconds
    extension_seconds: ExtensionSeconds
    maximum_seconds: MaximumSeconds
    warning_seconds: WarningSeconds
    auto_extend: AutoExtend
    max_lines: MaxLines
    max_held_lines: MaxHeldLines
    max_checkouts_per_owner: MaxPerOwner
    max_checkouts_per_address: MaxPerAddress
    cooldown_seconds: Cooldown
    late_payments: LatePaymentsField
    payment_grace_seconds: PaymentGrace
    tax_classes: TaxClasses
    fiscal_series: FiscalSeries
    whatsapp_number: WhatsApp
    language: Language
    time_zone: TimeZone
    brand_color: BrandColor
    logo_text: LogoText

    @classmethod
    def of(cls, tenant: TenantId, settings: TenantSettings) -> TenantOut:
        """From its row. Whether it is disabled is not in it: then nobody could ask."""
        given = {name: value for name, value in stored(settings).items() if name != "disabled"}
        return cls(id=tenant, **given)


class SecretIn(StrictModel):
    """A secret, which is never shown again."""

    secret: SecretStr = Field(
        min_length=1,
        max_length=MAX_SECRET,
        description="As the gateway gave it to you; several with spaces between them while one is being replaced.",
        examples=["whsec_…"],
    )


class SecretOut(Answer):
    """That there is a secret, not what it is."""

    name: str = Field(examples=["gateway/sandbox"])
    updated_at: datetime = Field(description="When it was last set.")


class SecretsOut(Answer):
    """The tenant's own secrets."""

    items: list[SecretOut]

    @classmethod
    def of(cls, found: Sequence[SecretName]) -> SecretsOut:
        """From their rows."""
        return cls(items=[SecretOut(name=one.name, updated_at=one.updated_at) for one in found])
