"""The API's routes as its own OpenAPI document has them: what a test that is about every route is generated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from api.app import create_app
from api.tokens import Scope
from tests.support.api import api_settings


@dataclass(frozen=True)
class Route:
    """One operation. `scopes`: any one of them is enough; none: any token will do."""

    method: str
    path: str
    operation: str
    secured: bool
    scopes: frozenset[Scope]
    parameters: Mapping[str, Mapping[str, Any]]
    """Schemas of what stands in the path, by name."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def __hash__(self) -> int:
        return hash((self.method, self.path))

    @property
    def textual(self) -> list[str]:
        """Names in the path that take any text."""
        return [name for name, schema in self.parameters.items() if schema.get("type") == "string"]


@cache
def document() -> dict[str, Any]:
    """The document, made without any server."""
    return create_app(api_settings("postgresql://nobody@127.0.0.1:1/nothing")).openapi()


@cache
def routes() -> tuple[Route, ...]:
    """Every route there is."""
    paths: dict[str, dict[str, Any]] = document()["paths"]
    return tuple(_route(method, path, one) for path, item in paths.items() for method, one in item.items())


def _route(method: str, path: str, operation: dict[str, Any]) -> Route:
    security: list[dict[str, list[str]]] = operation.get("security", [])
    scopes = frozenset(Scope(scope) for one in security for names in one.values() for scope in names)
    placed = [one for one in operation.get("parameters", []) if one["in"] == "path"]
    parameters = {one["name"]: one["schema"] for one in placed}
    return Route(method.upper(), path, operation["operationId"], bool(security), scopes, parameters)
