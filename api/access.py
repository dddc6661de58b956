"""Logins, their refresh, logouts, and anonymous sessions: what the access routes do."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field

from structlog import stdlib

from api import refresh_tokens
from api.caller import Caller, CallerKind, buyer_key, kind_of, scopes_of
from api.jws import RefusedToken
from api.passwords import Passwords
from api.verification import Verifier
from db.adoption import adopt_session
from db.database import Database
from db.logins import Login, LoginId, NewLogin, RefreshRefusal, Refused, close_login, open_login, rotate
from db.revocations import revoke
from db.sessions import open_session, read_session
from db.users import Account, find_account
from domain.cart import Notice
from domain.errors import Invalid, Unauthorized
from domain.ids import BuyerKey, SessionId, TenantId

_auth = stdlib.get_logger("auth")
_security = stdlib.get_logger("security")
_SESSION_FIX = "Leave it out: a new session can be had from POST /v1/sessions"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long tokens last, in seconds. A login's refresh tokens all end `refresh` after the login itself."""

    access: int
    refresh: int
    session: int


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What a login or a refresh gives. Times in seconds from now."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    notices: list[Notice] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Session:
    """An anonymous buyer's token."""

    id: SessionId
    access_token: str
    expires_in: int


class Access:
    """Lets callers in and out."""

    def __init__(self, db: Database, verifier: Verifier, passwords: Passwords, lifetimes: Lifetimes) -> None:
        self._db, self._passwords, self._lifetimes = db, passwords, lifetimes
        self._tokens, self._revocations = verifier.tokens, verifier.revocations

    async def log_in(self, tenant: TenantId, name: str, password: str, session_token: str | None = None) -> LoggedIn:
        """Check name (or e-mail) and password; take over the session that `session_token` is of.

        Raises Unauthorized; Invalid for a session token that is not good.
        """
        account = await find_account(self._db, tenant, name)
        matches = await self._passwords.match(account.password_hash if account else None, password)
        if account is None or not matches:
            _auth.info("login_refused")
            raise Unauthorized("Name or password is wrong.")
        key = buyer_key(kind_of(scopes_of(account.scopes)), str(account.id))
        session = await self._session_for(tenant, key, session_token) if session_token is not None else None
        adopted = await adopt_session(self._db, tenant, SessionId(session.subject), key) if session else None
        return await self._open(tenant, account, session, adopted.notices if adopted else [])

    async def refresh(self, token: str) -> LoggedIn:
        """The next tokens for a refresh token. Raises Unauthorized; a token used before ends its whole login."""
        tenant = refresh_tokens.tenant_of(token)
        if tenant is None:
            _security.warning("refresh_refused", why="malformed")
            raise Unauthorized("Log in again.")
        following = refresh_tokens.new_refresh_token(tenant)
        outcome = await rotate(
            self._db,
            tenant,
            refresh_tokens.digest(token),
            refresh_tokens.digest(following),
            self._lifetimes.access,
        )
        if isinstance(outcome, Refused):
            raise self._refused(tenant, outcome)
        _auth.info("refresh", tenant=tenant, user=outcome.user_id, login=outcome.id)
        return self._logged_in(tenant, outcome, following, [])

    async def log_out(self, caller: Caller) -> None:
        """Revoke the caller's whole login, or its session, or this one token."""
        revoked = caller.sid or caller.jti
        if caller.sid and caller.kind is not CallerKind.SESSION:
            await close_login(self._db, caller.tenant, LoginId(caller.sid), "logout", caller.expires_at)
        else:
            await revoke(self._db, caller.tenant, revoked, "logout", caller.expires_at)
        self._revocations.add(caller.tenant, revoked)
        _auth.info("logout", caller=caller.actor, login=caller.sid or None)
        _security.info("revoked", id=revoked, reason="logout")

    async def open_session(self, tenant: TenantId) -> Session:
        """A new anonymous buyer, whose key nobody can choose. Raises NotFound when there is no such tenant."""
        session = SessionId(secrets.token_urlsafe(24))
        seconds = await open_session(self._db, tenant, session, self._lifetimes.session)
        _auth.info("session_opened", session=session)
        return Session(session, self._tokens.issue_session(tenant, session, seconds), seconds)

    async def _session_for(self, tenant: TenantId, user: BuyerKey, token: str) -> Caller:
        """The session that the token is of. Raises Invalid unless this user may take it over."""
        try:
            caller = self._tokens.verify(token)
        except RefusedToken as error:
            raise _bad_session(error.rule) from None
        if caller.kind is not CallerKind.SESSION or caller.tenant != tenant:
            raise _bad_session("other_kind" if caller.tenant == tenant else "other_tenant")
        state = await read_session(self._db, tenant, SessionId(caller.subject))
        if state is None or not state.may_go_to(user):
            raise _bad_session("revoked" if state else "unknown")
        return caller

    async def _open(
        self, tenant: TenantId, account: Account, session: Caller | None, notices: list[Notice]
    ) -> LoggedIn:
        token, lives = refresh_tokens.new_refresh_token(tenant), self._lifetimes
        origin = SessionId(session.subject) if session else None
        login = LoginId(str(uuid.uuid4()))
        new = NewLogin(
            login, str(account.id), lives.refresh, lives.access, origin, session.expires_at if session else 0
        )
        await open_login(self._db, tenant, new, refresh_tokens.digest(token))
        if origin:
            self._revocations.add(tenant, origin)
        _auth.info("login", user=str(account.id), login=login, session=origin)
        opened = Login(login, str(account.id), account.scopes, origin, lives.refresh)
        return self._logged_in(tenant, opened, token, notices)

    def _logged_in(self, tenant: TenantId, login: Login, refresh_token: str, notices: list[Notice]) -> LoggedIn:
        seconds = min(self._lifetimes.access, login.seconds)
        token = self._tokens.issue(
            tenant, login.user_id, scopes_of(login.scopes), seconds, sid=login.id, origin=login.session
        )
        return LoggedIn(token, seconds, refresh_token, login.seconds, notices)

    def _refused(self, tenant: TenantId, refused: Refused) -> Unauthorized:
        """All refusals answer alike. A replay is known in this process at once."""
        _security.warning("refresh_refused", tenant=tenant, why=refused.why, login=refused.login)
        if refused.why is RefreshRefusal.REPLAYED and refused.login:
            self._revocations.add(tenant, refused.login)
            _security.warning("revoked", tenant=tenant, id=refused.login, reason="replayed")
        return Unauthorized("Log in again.")


def _bad_session(rule: str) -> Invalid:
    _security.warning("session_token_refused", rule=rule)
    wrong = {"field": "session_token", "message": "This session cannot be taken over", "fix": _SESSION_FIX}
    return Invalid("See `errors` for each field and its fix.", errors=[wrong])
