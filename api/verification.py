"""Who calls: a token that verifies, and is not revoked."""

from __future__ import annotations

from structlog import stdlib

from api.jws import RefusedToken
from api.revocations import Revocations
from api.tokens import Caller, Tokens

_security = stdlib.get_logger("security")


class Verifier:
    """Turns the token of a request into its caller."""

    def __init__(self, tokens: Tokens, revocations: Revocations) -> None:
        self._tokens, self._revocations = tokens, revocations

    async def verify(self, token: str) -> Caller:
        """The caller. Raises Unauthorized, which never says which rule was broken: the security log does.

        Raises Unavailable when whether the token is revoked cannot be known.
        """
        try:
            caller = self._tokens.verify(token)
            await self._revocations.check(caller)
        except RefusedToken as error:
            _security.warning("token_refused", rule=error.rule)
            raise
        return caller
