"""Wiring of the activities that send tenants' webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx

from activities.hooks.activities import HookActivities
from activities.hooks.sender import Sender
from activities.hooks.targets import Targets
from db.database import Database
from db.keyring import KeyRing


def hook_activities(
    db: Database, ring: KeyRing, http: httpx.AsyncClient, *, development: bool
) -> Sequence[Callable[..., Any]]:
    """All of them. `http`: of `activities.hooks.sender.client`. `development`: receivers on 127.0.0.1 are good too."""
    hooks = HookActivities(db, ring, Sender(http, Targets(development=development)))
    return (hooks.send_hook, hooks.give_up_hook)
