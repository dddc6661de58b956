"""Holds every answer of the API against its own OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
from jsonschema import Draft202012Validator

Document = Mapping[str, Any]


class Contract:
    """What the document promises. As a response hook it looks at every answer; `broken` keeps what was not so."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        """(method, path template, status) of every answer."""
        self.broken: list[str] = []
        self._templates = {re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)): path for path in document["paths"]}
        self._validators: dict[tuple[str, str, int, str], Draft202012Validator] = {}

    async def hook(self, response: httpx.Response) -> None:
        """For httpx's `event_hooks["response"]`."""
        await response.aread()
        fault = self.fault(response.request.method, response.request.url.path, response)
        if fault is not None:
            self.broken.append(fault)

    def fault(self, method: str, path: str, response: httpx.Response) -> str | None:
        """What is wrong with the answer, or None. Addresses that the document does not have are not its business."""
        template = next((name for pattern, name in self._templates.items() if pattern.fullmatch(path)), None)
        operation = self.document["paths"].get(template, {}).get(method.lower())
        if template is None or operation is None:
            return None
        where = f"{method} {template} answered {response.status_code}"
        self.seen.add((method, template, response.status_code))
        promised = operation["responses"].get(str(response.status_code))
        if promised is None:
            return f"{where}, which the document does not name: {response.text[:300]}"
        return self._content_fault(where, (method, template, response.status_code), promised, response)

    def _content_fault(
        self, where: str, key: tuple[str, str, int], promised: Document, response: httpx.Response
    ) -> str | None:
        kind = response.headers.get("content-type", "").partition(";")[0]
        content = promised.get("content")
        if content is None:
            return f"{where} with a body that the document does not name" if response.content else None
        if kind not in content:
            return f"{where} as {kind!r}, not as {sorted(content)}"
        if not kind.endswith("json"):
            return None
        error = next(self._validator((*key, kind), content[kind]["schema"]).iter_errors(response.json()), None)
        return None if error is None else f"{where}, not by its schema: {error.message[:300]} at {error.json_path}"

    def _validator(self, key: tuple[str, str, int, str], schema: Document) -> Draft202012Validator:
        if key not in self._validators:
            self._validators[key] = Draft202012Validator({**schema, "components": self.document["components"]})
        return self._validators[key]
