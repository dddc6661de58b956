"""Who calls: a token that verifies, and is not revoked."""

from __future__ import annotations

from structlog import stdlib

from api import jws
from api.caller import Caller
from api.issuers import OutsideIssuer
from api.jws import RefusedToken
from api.revocations import Revocations
from api.tokens import Tokens

_security = stdlib.get_logger("security")


class Verifier:
    """Turns the token of a request into its caller."""

    def __init__(self, tokens: Tokens, revocations: Revocations, outside: OutsideIssuer | None = None) -> None:
        """`outside`: an issuer whose tokens are good here beside our own."""
        self.tokens, self.revocations, self._outside = tokens, revocations, outside

    async def verify(self, token: str) -> Caller:
        """The caller. Raises Unauthorized, which never says which rule was broken: the security log does.

        Raises Unavailable when whether the token is revoked cannot be known, or its issuer's keys cannot be had.
        """
        try:
            caller = self.tokens.remembered(token) or await read_token(token, self.tokens, self._outside)
            await self.revocations.check(caller)
        except RefusedToken as error:
            _security.warning("token_refused", rule=error.rule)
            raise
        return caller

    def remembers(self, token: str) -> bool:
        """Whether it was good here before and its time is not over: so it is no guess. It may be revoked by now."""
        if self.tokens.remembered(token) is not None:
            return True
        return self._outside is not None and self._outside.remembers(token)


async def read_token(token: str, tokens: Tokens, outside: OutsideIssuer | None) -> Caller:
    """Whom the token is of, be it revoked or not. Raises RefusedToken; Unavailable without its issuer's keys."""
    if outside is not None and outside.speaks(jws.header_of(token)):
        return await outside.verify(token)
    return tokens.verify(token)
