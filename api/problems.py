"""The one translator of errors to HTTP: problem documents (RFC 9457)."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.requests import CLOSE
from api.validation import FieldError, field_errors, lacks_idempotency_key
from domain.errors import (
    BadJson,
    BodyTooSlow,
    HoldfastError,
    Invalid,
    MethodNotAllowed,
    MissingIdempotencyKey,
    NotFound,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
_OF_STATUS: Mapping[int, type[HoldfastError]] = {404: NotFound, 405: MethodNotAllowed, 413: TooLarge}


JSON_BODY = (BadJson, BodyTooSlow, TooLarge, UnsupportedMediaType)
"""What reading a JSON body may raise, for `documented`; what is in it may be Invalid besides."""


class Problem(BaseModel):
    """What every error answers with. `code` is stable; `detail` is for people and may change."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:holdfast:problem:insufficient_stock"])
    title: str = Field(examples=["Not enough stock"])
    status: int = Field(examples=[409])
    detail: str
    code: str = Field(examples=["insufficient_stock"])
    request_id: str = Field(description="Also in the X-Request-ID header and in our logs.")
    errors: list[FieldError] | None = Field(default=None, description="With 422: each field that is not valid.")


def install(app: FastAPI) -> None:
    """Answer every error of `app`'s routes with a problem. Unexpected ones are `api.context`'s."""
    app.add_exception_handler(HoldfastError, _holdfast)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def problem(scope: Scope, error: HoldfastError, headers: Mapping[str, str] | None = None) -> Response:
    """The response that says `error`."""
    document = {
        "type": f"urn:holdfast:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": scope.get("request_id", ""),
        **{name: value for name, value in error.extra.items() if name not in Problem.model_fields or name == "errors"},
    }
    return Response(to_json(document), error.status, {**_headers(error), **(headers or {})}, MEDIA_TYPE)


def documented(*errors: type[HoldfastError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that raises these: each status with the problem's schema and an example per code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        content = responses.setdefault(error.status, _described(error.status))["content"][MEDIA_TYPE]
        content["examples"][error.code] = {"summary": error.title, "value": _example(error)}
    return responses


def _described(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": http.HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}},
    }


def _example(error: type[HoldfastError]) -> dict[str, Any]:
    return {
        "type": f"urn:holdfast:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.title,
        "code": error.code,
        "request_id": "6f1c9a52f0c94c0f8a53f5a0f6d7b1e2",
    }


def _headers(error: HoldfastError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, TooLarge | BodyTooSlow):
        headers.update(CLOSE)
    return headers


async def _holdfast(request: Request, error: Exception) -> Response:
    assert isinstance(error, HoldfastError)  # noqa: S101  # what it is registered for
    return problem(request.scope, error)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = error.errors()
    if lacks_idempotency_key(errors):
        return problem(
            request.scope, MissingIdempotencyKey("Send an Idempotency-Key: the same one when you try again.")
        )
    return problem(request.scope, Invalid("See `errors` for each field and its fix.", errors=field_errors(errors)))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = http.HTTPStatus(error.status_code)
    kind = _OF_STATUS.get(status) or type(
        "OtherHttpError",
        (HoldfastError,),
        {"code": f"http_{status.value}", "status": status.value, "title": status.phrase},
    )
    return problem(request.scope, kind(), error.headers)
