"""Bodies of the access routes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.access import LoggedIn, Session
from api.cart_models import NoticeOut
from api.models import Answer, StrictModel

_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2lnbmF0dXJl"  # noqa: S105  # an example
_REFRESH = "hfr.demo.Zk3vU0m1xX8p2JqF5n7bT9wYc4LhR6sEaQdGiKoMuVw"


class Login(StrictModel):
    """Who logs in. The tenant is the host name's (`<tenant>.<domain>`), or the installation's default."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=254)] = Field(
        description="Name or e-mail, in any case.", examples=["ana"]
    )
    password: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(examples=["holdfast-demo"])
    session_token: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="The anonymous session's token whose cart and holds become the user's.",
        examples=[_TOKEN],
    )


class Refresh(StrictModel):
    """The newest refresh token of a login."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(examples=[_REFRESH])


class TokenPair(Answer):
    """An access token for the Authorization header, and the refresh token for the next."""

    access_token: str = Field(examples=[_TOKEN])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # a scheme, not a secret
    expires_in: int = Field(description="Seconds.", examples=[900])
    refresh_token: str = Field(description="Good once, for POST /v1/auth/refresh.", examples=[_REFRESH])
    refresh_expires_in: int = Field(
        description="Seconds until the login is over, however often it is refreshed.", examples=[604800]
    )
    notices: list[NoticeOut] = Field(description="What changed when two carts became one.")


class SessionToken(Answer):
    """An anonymous buyer's access token."""

    access_token: str = Field(examples=[_TOKEN])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds; longer than the longest hold.", examples=[86400])
    session_id: str = Field(examples=["u7Qm2n5cV0kX9bT4wYhR6sEaQdGiKoLz"])


def token_pair(made: LoggedIn) -> TokenPair:
    """The answer that carries a login's tokens."""
    notices = [
        NoticeOut(product_id=one.product_id, name=one.name, reason=one.reason, before=one.before, after=one.after)
        for one in made.notices
    ]
    return TokenPair(
        access_token=made.access_token,
        expires_in=made.expires_in,
        refresh_token=made.refresh_token,
        refresh_expires_in=made.refresh_expires_in,
        notices=notices,
    )


def session_token(made: Session) -> SessionToken:
    """The answer that carries a session's token."""
    return SessionToken(access_token=made.access_token, expires_in=made.expires_in, session_id=made.id)
