"""The API as `holdfast api` runs it, with a route beside it that checks the token and does nothing.

Run as `python -m bench.carts_api PORT PROCESSES`.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import APIRouter, FastAPI, Response

from api import app as product
from api.deps import Buyer
from api.requests import StrictRoute
from cli import SERVER

router = APIRouter(route_class=StrictRoute)
NOTHING = b"{}"


@router.get("/bench/nothing")
async def nothing(_: Buyer) -> Response:
    """The yardstick."""
    return Response(NOTHING, media_type="application/json")


def create_app() -> FastAPI:
    """The product's, and the yardstick."""
    made = product.create_app()
    made.include_router(router)
    return made


if __name__ == "__main__":
    uvicorn.run("bench.carts_api:create_app", factory=True, port=int(sys.argv[1]), workers=int(sys.argv[2]), **SERVER)
