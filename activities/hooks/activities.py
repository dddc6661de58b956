"""The activities of a message for a tenant's endpoint: one try, and giving up."""

from __future__ import annotations

from datetime import timedelta

from structlog import stdlib
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import names
from activities.errors import translated
from activities.hooks.sender import Sender, Told
from db.database import Database
from db.hook_deliveries import begin_try, end_delivery, note_failed_try
from db.keyring import KeyRing, Unreadable
from domain.hooks import DeliveryStatus, HookRef, HookResult

_log = stdlib.get_logger("hooks")
NOT_DELIVERED = "hook_not_delivered"


class HookActivities:
    """What the workflow `HookDelivery` does."""

    def __init__(self, db: Database, ring: KeyRing, sender: Sender) -> None:
        self._db, self._ring, self._sender = db, ring, sender

    @activity.defn(name=names.SEND_HOOK)
    @translated
    async def send_hook(self, ref: HookRef) -> HookResult:
        """Try once. Raises ApplicationError, to be tried again, when it does not get through.

        Its words are ours, never the receiver's; neither they nor the log have its address.
        """
        try:
            begun = await begin_try(self._db, self._ring, ref)
        except Unreadable as error:
            _log.error("hook_secret_unreadable", tenant=ref.tenant, delivery=ref.delivery_id, why=str(error))
            raise ApplicationError("its secret cannot be opened", type=NOT_DELIVERED) from None
        if begun is None:
            return HookResult(DeliveryStatus.PENDING, superseded=True)
        if isinstance(begun, DeliveryStatus):
            return HookResult(begun)
        told = await self._sender.send(ref.delivery_id, begun)
        if told.error is None:
            await end_delivery(self._db, ref, DeliveryStatus.DELIVERED, answer=told.answer)
            return HookResult(DeliveryStatus.DELIVERED)
        return await self._failed(ref, told.error, told)

    @activity.defn(name=names.GIVE_UP_HOOK)
    @translated
    async def give_up_hook(self, ref: HookRef) -> HookResult:
        """Nothing more is tried. One that got through in the meantime stays so."""
        await end_delivery(self._db, ref, DeliveryStatus.FAILED, "tried_for_days")
        _log.warning("hook_given_up", tenant=ref.tenant, delivery=ref.delivery_id)
        return HookResult(DeliveryStatus.FAILED)

    async def _failed(self, ref: HookRef, error: str, told: Told) -> HookResult:
        disabled = await note_failed_try(self._db, ref, error, told.answer, gone=told.gone)
        _log.info("hook_not_delivered", tenant=ref.tenant, delivery=ref.delivery_id, error=error, answer=told.answer)
        if disabled is not None:
            because = "gone" if told.gone else "failing"
            _log.error("hook_endpoint_disabled", tenant=ref.tenant, hook=disabled, because=because)
        if told.gone:
            await end_delivery(self._db, ref, DeliveryStatus.FAILED, "gone", told.answer)
            return HookResult(DeliveryStatus.FAILED)
        pause = timedelta(seconds=told.pause) if told.pause else None
        words = f"{error} {told.answer}" if told.answer else error
        raise ApplicationError(words, type=NOT_DELIVERED, next_retry_delay=pause)
