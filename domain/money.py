"""Money: integer minor units with a currency (ISO 4217)."""

from __future__ import annotations

from dataclasses import dataclass

EXPONENTS = {"CLP": 0, "COP": 2, "EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "MXN": 2, "PEN": 2, "USD": 2}
"""Minor-unit exponents (ISO 4217) of the currencies a tenant may choose."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the currency's minor unit: `Money(1050, "USD")` is ten dollars and fifty cents."""

    amount: int
    currency: str

    def __str__(self) -> str:
        exponent = EXPONENTS.get(self.currency, 2)
        sign, digits = ("-" if self.amount < 0 else ""), str(abs(self.amount)).rjust(exponent + 1, "0")
        whole, minor = (digits[:-exponent], "." + digits[-exponent:]) if exponent else (digits, "")
        return f"{sign}{int(whole):,}{minor} {self.currency}"
