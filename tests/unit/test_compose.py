"""docker-compose.yml and the Dockerfile, as far as they can be checked without a container engine."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from domain import search_attributes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def validator() -> Validator:
    """Of the compose specification's own schema, as the package check-jsonschema carries it."""
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    return validator_for(schema)(schema)


def test_it_follows_the_compose_specification(compose: Any) -> None:
    assert [error.message for error in validator().iter_errors(compose)] == []


def test_the_specification_is_not_so_lax_that_it_would_take_anything(compose: Any) -> None:
    broken = {**compose, "services": {**compose["services"], "api": {"image": "holdfast", "depend_on": ["postgres"]}}}
    assert any("depend_on" in error.message for error in validator().iter_errors(broken))


def test_every_published_port_is_on_loopback(compose: Any) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_dependency_exists_and_can_fulfil_its_condition(compose: Any) -> None:
    services = compose["services"]
    for service in services.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[name], name
            if wanted["condition"] == "service_completed_successfully":
                assert services[name]["restart"].startswith("on-failure"), f"{name} would run again for ever"


def test_what_always_runs_needs_nothing_of_the_sandbox(compose: Any) -> None:
    services = compose["services"]
    always = {name: service for name, service in services.items() if "profiles" not in service}
    assert services.keys() - always.keys() == {"gateway", "seed"}
    assert all(set(service.get("depends_on", {})) <= always.keys() for service in always.values())


def test_the_namespace_gets_every_search_attribute(compose: Any) -> None:
    [script] = compose["services"]["temporal-namespace"]["command"]
    for name, kind in search_attributes.TYPES.items():
        assert f"--name {name} --type {kind}" in script


def test_no_password_is_written_down(compose: Any) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in ("PASSWORD", "SECRET", "PWD", "KEY")):
                assert value.startswith("${"), name
                assert value.endswith(":?}"), f"{name} has a default"


def test_the_image_has_every_package_of_the_project(compose: Any) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().split()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages >= {"api", "db", "domain", "local"}
    for package in packages:
        assert f"COPY {package} {package}\n" in dockerfile
        assert f"!{package}" in ignored
