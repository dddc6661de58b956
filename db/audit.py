"""The audit log: who did what to which thing, and what it was before and after. Written beside the change itself."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from db.database import Statement
from domain.ids import Actor, TenantId

NOTE = """
    INSERT INTO audit_log (tenant_id, actor, action, subject, before, after)
    VALUES (%(tenant)s, %(actor)s, %(action)s, %(subject)s, %(before)s, %(after)s)
"""


def note(tenant: TenantId, actor: Actor, action: str, subject: str, before: Any = None, after: Any = None) -> Statement:
    """The statement that notes a change, to run in the change's own transaction.

    `action` such as `cart.changed`; `subject` such as `cart:<id>` or `product:38`; `before` and `after`: JSON of ids,
    amounts and states that differ, never an e-mail or a name of a person.
    """
    values = {"tenant": tenant, "actor": actor, "action": action, "subject": subject}
    return NOTE, {**values, "before": _json(before), "after": _json(after)}


def _json(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)
