"""Fulfilment's parts, put together from what the installation was told. Settings are read by who calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from activities.fulfilment.activities import FulfilmentActivities, Outlets
from activities.fulfilment.mail_templates import Templates
from activities.fulfilment.mailers import FolderMailer, Mailer, SmtpMailer, SmtpServer
from activities.fulfilment.notifiers import Notifiers
from activities.fulfilment.refund_notice import RefundNotice
from activities.fulfilment.renderer import ProcessRenderer
from activities.fulfilment.starting import Fulfilling
from activities.fulfilment.ticket_keys import TicketKeys
from activities.gateways.secrets import Secrets
from db.database import Database


@dataclass(frozen=True)
class FulfilmentConfig:
    """What an installation is told. `mail_folder` comes before `smtp`; with neither, e-mails are skipped."""

    ticket_keys: str = field(repr=False)
    mail_from: str
    mail_folder: Path | None
    smtp: SmtpServer | None
    template_folder: Path | None
    whatsapp_url: str
    sms_url: str
    pdf_processes: int = 1
    pdf_seconds: float = 30.0


@asynccontextmanager
async def outlets_from(config: FulfilmentConfig, secrets: Secrets, http: httpx.AsyncClient) -> AsyncIterator[Outlets]:
    """What fulfilment goes out by; its processes end with it. Raises ValueError for keys that are none."""
    renderer = ProcessRenderer(processes=config.pdf_processes, seconds=config.pdf_seconds)
    try:
        yield Outlets(
            mailer=_mailer(config),
            mail_from=config.mail_from,
            templates=Templates(config.template_folder),
            renderer=renderer,
            keys=TicketKeys.parse(config.ticket_keys),
            notifiers=Notifiers(secrets, http, whatsapp_url=config.whatsapp_url, sms_url=config.sms_url),
        )
    finally:
        await renderer.close()


def fulfilment_activities(db: Database, fulfilling: Fulfilling, outlets: Outlets) -> Sequence[Callable[..., Any]]:
    """Every activity of fulfilment, wired."""
    steps, notice = FulfilmentActivities(db, outlets), RefundNotice(db, outlets)
    return (
        fulfilling.start_fulfilment,
        steps.make_tickets,
        steps.send_confirmation,
        steps.send_tickets,
        steps.notify_buyer,
        steps.count_order,
        steps.give_up_step,
        steps.close_fulfilment,
        notice.tell_refund,
    )


def _mailer(config: FulfilmentConfig) -> Mailer | None:
    if config.mail_folder is not None:
        return FolderMailer(config.mail_folder)
    return SmtpMailer(config.smtp) if config.smtp is not None else None
