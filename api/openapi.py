"""The OpenAPI document: FastAPI's, with the problem schema that every error response refers to."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI

from api.limits import BY_ADDRESS
from api.problems import Problem, documented
from domain.errors import TooManyRequests

TAGS = [
    {"name": "auth", "description": "Access tokens."},
    {"name": "catalogue", "description": "Products, prices and stock."},
    {"name": "events", "description": "Events, their zones and seats, and what is available."},
    {"name": "event administration", "description": "For a tenant's administrators."},
    {"name": "catalogue administration", "description": "For a tenant's administrators."},
    {"name": "tenant administration", "description": "A tenant's settings and secrets, for its administrators."},
    {"name": "cart", "description": "Product ids and quantities, priced anew at each read."},
    {"name": "checkouts", "description": "Hold, extend, pay, confirm, cancel."},
    {"name": "orders", "description": "What was sold."},
    {"name": "operations", "description": "For those who look after a tenant: administrators and operators."},
    {"name": "webhooks", "description": "For payment gateways."},
    {"name": "health", "description": "For supervisors and load balancers."},
]
DESCRIPTION = """
Holds stock for a buyer, waits for the payment, then confirms the sale or gives the stock back.

Amounts are integers in the currency's minor unit. Errors are problem documents (RFC 9457) with a stable `code` and a
`request_id`. Send an `Idempotency-Key` where it is asked for, and the same one when you try again.
"""


class HoldfastAPI(FastAPI):
    """FastAPI whose OpenAPI document has the problem schema, and each operation's scopes as alternatives.

    It says 429 of every operation that is limited: those with a token (`api.deps`), and those limited by address.
    """

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            for operation in [one for item in document["paths"].values() for one in item.values()]:
                if "security" in operation or operation["operationId"] in BY_ADDRESS:
                    _answers_429(operation["responses"])
                if "security" in operation:
                    operation["security"] = _alternatives(operation["security"])
            self.openapi_schema = document
        return self.openapi_schema


def _answers_429(responses: dict[str, Any]) -> None:
    """Beside what the route itself documents of 429."""
    limited = documented(TooManyRequests)[429]
    for media in responses.get("429", {}).get("content", {}).values():
        limited["content"]["application/problem+json"]["examples"] |= media["examples"]
    responses["429"] = limited


def _alternatives(security: list[dict[str, list[str]]]) -> list[dict[str, list[str]]]:
    """Any one scope is enough: in OpenAPI, requirements side by side. Scopes within one would all be needed."""
    return [{name: [scope]} for one in security for name, scopes in one.items() for scope in scopes] or security


def installed_version() -> str:
    """The version of this installation."""
    try:
        return version("holdfast")
    except PackageNotFoundError:
        return "0.0.0+source"
