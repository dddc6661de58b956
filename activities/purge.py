"""The hourly purge's activity."""

from __future__ import annotations

from temporalio import activity

from activities import names
from activities.errors import translated
from db.purge import purge
from domain.purging import Purged


class Purge:
    """Deletes what is over, at every tenant."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url

    @activity.defn(name=names.PURGE_TOKENS)
    @translated
    async def purge_tokens(self) -> Purged:
        """Delete expired tokens, logins, revocations and sessions; counts of each. Harmless when it runs twice."""
        return await purge(self._admin_url)
