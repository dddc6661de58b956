"""The OpenAPI document: complete, and true to how errors are answered. Guards every route there is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import SecretStr

from api.app import create_app
from api.limits import BY_ADDRESS
from api.requests import StrictRoute
from settings import DEVELOPMENT_SECRET, Settings

OPEN = {"login", "refreshToken", "openSession", "healthz", "readyz", "receiveWebhook"}
"""Operations that need no token: the first three give one, a webhook carries a signature."""
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(env="development"))


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS, path
            yield f"{method} {path}", operation


def test_every_operation_has_a_name_a_summary_and_a_tag_of_its_own_choice(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for name, operation in operations(document):
        assert operation["operationId"].isalnum(), f"{name}: generated from the path, so not stable"
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= described, name
        assert operation["tags"], name


def test_every_error_is_a_problem_document_with_examples(document: dict[str, Any]) -> None:
    seen = 0
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            seen += 1
            assert list(response["content"]) == ["application/problem+json"], f"{name} {status}"
            [media] = response["content"].values()
            assert media["schema"] == {"$ref": "#/components/schemas/Problem"}, f"{name} {status}"
            for code, example in media["examples"].items():
                assert (example["value"]["code"], example["value"]["status"]) == (code, int(status)), name
    assert seen


def test_every_operation_says_which_errors_come_with_what_it_takes(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        wanted = {"400"}
        if "requestBody" in operation and "application/json" in operation["requestBody"]["content"]:
            wanted |= {"408", "413", "415", "422"}
        if operation.get("parameters"):
            wanted |= {"422"}
        if operation["operationId"] not in OPEN:
            wanted |= {"401"}
            assert {name for one in operation["security"] for name in one} == {"bearer"}, name
            scoped = [one["bearer"] for one in operation["security"] if one["bearer"]]
            assert all(len(scopes) == 1 for scopes in scoped), f"{name}: any one scope is enough, so each stands alone"
            assert not scoped or "403" in operation["responses"], name
        assert wanted <= set(operation["responses"]), f"{name} lacks {wanted - set(operation['responses'])}"


def test_every_operation_says_429_that_has_a_token_or_is_open_and_neither_health_nor_a_webhook(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document):
        limited = "429" in operation["responses"]
        assert limited == (operation["tags"][0] not in {"health", "webhooks"}), name
        by_address = operation["operationId"] in BY_ADDRESS
        assert by_address == (limited and "security" not in operation), f"{name}: limited neither by token nor address"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    found = set(references(document))
    assert "#/components/schemas/Problem" in found
    for reference in found:
        prefix, name = reference.rsplit("/", 1)
        assert prefix == "#/components/schemas", reference
        assert name in document["components"]["schemas"], reference
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_body_refuses_unknown_fields(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for option in schema.get("anyOf", [schema]):
            if "$ref" in option:
                body = document["components"]["schemas"][option["$ref"].rsplit("/", 1)[1]]
                assert body["additionalProperties"] is False, name


def test_every_route_and_dependency_is_asynchronous(app: FastAPI) -> None:
    def calls(dependant: Dependant) -> Iterator[Any]:
        yield dependant.call
        for inner in dependant.dependencies:
            yield from calls(inner)

    routes = api_routes(app)
    assert len(routes) >= 5
    for route in routes:
        assert isinstance(route, StrictRoute), f"{route.path} would read JSON leniently"
        for call in calls(route.dependant):
            target = call if inspect.isroutine(call) else call.__call__
            assert inspect.iscoroutinefunction(target), f"{route.path}: {call} goes to a thread pool"


def test_the_development_secret_starts_nowhere_else() -> None:
    with pytest.raises(ValueError, match="HOLDFAST_JWT_SECRET"):
        create_app(Settings(env="production", jwt_secret=SecretStr(DEVELOPMENT_SECRET)))


def test_production_does_not_start_without_the_names_of_its_hosts() -> None:
    secrets = dict.fromkeys(("jwt_secret", "buyer_hash_key", "sandbox_gateway_secret"), "s" * 32)
    secrets["secret_keys"] = secrets["ticket_keys"] = f"k1:{'k' * 43}="
    with pytest.raises(ValueError, match="HOLDFAST_ALLOWED_HOSTS"):
        Settings.model_validate({"env": "production", **secrets})
    assert Settings.model_validate({"env": "production", **secrets, "allowed_hosts": "a.b,c"}).hosts == ("a.b", "c")


def api_routes(app: FastAPI) -> list[APIRoute]:
    return [context.route for context in iter_route_contexts(app.routes) if isinstance(context.route, APIRoute)]
