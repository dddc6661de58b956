"""The search attributes every run carries, set once at its start. Types are Temporal's names for them."""

from __future__ import annotations

from typing import Final

TENANT: Final = "HoldfastTenant"
BUYER: Final = "HoldfastBuyer"
"""A keyed hash of the buyer, never the buyer."""
AMOUNT: Final = "HoldfastAmount"
"""The checkout's total in the currency's minor unit."""
END: Final = "HoldfastEnd"
"""The first end of the hold; extensions do not move it (each upsert is a billable action)."""

TYPES: Final = {TENANT: "Keyword", BUYER: "Keyword", AMOUNT: "Int", END: "Datetime"}
