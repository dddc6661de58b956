"""Creating and changing events: each change in one transaction with its audit row. Reading is db/events.py."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict

from db.audit import note
from db.database import Database, Transaction
from db.event_admin_sql import INSERT_EVENT, LOCK_EVENT, NUMBER_EVENT, UPDATE_EVENT
from db.events import Event, event_statement
from db.numbering import Numbered
from domain.errors import EventExists, NotFound
from domain.ids import Actor, EventKey, TenantId


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be; `id`: None for the next one."""

    name: str
    description: str = ""
    venue: str = ""
    starts_at: datetime | None = None
    on_sale: bool = True
    id: EventKey | None = None


class EventChanges(TypedDict, total=False):
    """What to change of an event; what is not in it stays."""

    name: str
    description: str
    venue: str
    starts_at: datetime | None
    on_sale: bool


FIELDS = tuple(EventChanges.__annotations__)


async def create_event(db: Database, tenant: TenantId, actor: Actor, new: NewEvent) -> Event:
    """Add an event. Raises EventExists for a chosen id that is taken, NotFound when there is no such tenant."""
    given = {name: value for name, value in asdict(new).items() if name != "id"}
    creation = Numbered(tenant, new.id, NUMBER_EVENT, EventExists("There is an event with this id already."))

    async def work(transaction: Transaction) -> Event:
        async def write(event: int, at: datetime) -> None:
            values = {**given, "tenant": tenant, "event": event, "at": at}
            noted = note(tenant, actor, "event.created", f"event:{event}", None, as_json(given))
            await transaction.read((INSERT_EVENT, values), noted)

        event = EventKey(await creation.make(transaction, write))
        [rows] = await transaction.commit(event_statement(tenant, event))
        return Event(**rows[0])

    return await db.transact(tenant, work)


async def change_event(db: Database, tenant: TenantId, actor: Actor, event: EventKey, changes: EventChanges) -> Event:
    """Change an event; the whole of it, as it is then. Off sale, none of its tickets can be held any more; what is held
    stays so, and can be paid. Raises NotFound."""

    async def work(transaction: Transaction) -> Event:
        values = {"tenant": tenant, "event": event}
        [rows] = await transaction.read((LOCK_EVENT, values))
        if not rows:
            raise NotFound
        before, after = rows[0], {**rows[0], **changes}
        differing = [name for name in FIELDS if before[name] != after[name]]
        was, became = (as_json({name: state[name] for name in differing}) for state in (before, after))
        noted = note(tenant, actor, "event.changed", f"event:{event}", was, became)
        writes = [(UPDATE_EVENT, {**after, **values}), noted] if differing else []
        *_, rows = await transaction.commit(*writes, event_statement(tenant, event))
        return Event(**rows[0])

    return await db.transact(tenant, work)


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    """As the audit log has them: times in RFC 3339."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
