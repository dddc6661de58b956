"""What operators send and see of reconciliation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models import Answer, Minor, StrictModel
from db.reconciliation_findings import Finding
from db.reconciliation_runs import Run
from domain.disagreements import ADVICE, Kind
from domain.errors import NotFound

RUNS_SHOWN = 20
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class FindingsQuery(BaseModel):
    """Which part of the open findings."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    after: str | None = Field(default=None, pattern=f"^{_UUID}$", description="`next_after` of the page before.")
    limit: int = Field(default=50, ge=1, le=100)


class ResolveIn(StrictModel):
    """Why the finding may stay as it is."""

    note: Annotated[
        str,
        Field(
            min_length=1,
            max_length=500,
            pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
            description="For those who read it later; without names of people.",
            examples=["refunded at the desk, the buyer asked for it"],
        ),
    ]


class CountsOut(Answer):
    """What a run looked at."""

    compared: int
    agreed: int
    too_young: int = Field(description="Changed within 10 minutes: the next run judges them.")
    noted: int = Field(description="Of these the gateway had news of the payment that had not reached us.")
    repaired: int = Field(description="For so many a repair was begun.")
    flagged: int = Field(description="At so many somebody should look.")


class RunOut(Answer):
    """One comparison of the tenant's payments at one gateway, made there from `since` to `until`."""

    id: str
    gateway: str
    actor: str = Field(description="`system:reconciliation` is the hourly schedule.")
    since: datetime
    until: datetime
    counts: CountsOut
    error: str | None = Field(description="Why it did not come to its end; the next run covers its time.")
    started_at: datetime
    finished_at: datetime | None = Field(description="Null: it runs, or it died.")


class GatewaySide(Answer):
    """The payment as the gateway has it."""

    status: str
    amount: Minor
    currency: str
    refunded: Minor


class OurSideOut(Answer):
    """The payment as we have it. Only `status` while nothing is decided about it."""

    outcome: Literal["order", "refund"] | None
    status: str | None = Field(default=None, description="As last heard of; null: never.")
    amount: Minor | None = None
    currency: str | None = None
    refunded: Minor | None = None
    to_refund: Minor | None = Field(default=None, description="Decided, and not known to be made.")


class FindingOut(Answer):
    """A disagreement about one payment."""

    id: str
    gateway: str
    payment_id: str
    checkout_id: str | None
    kind: Kind
    why: str
    to_do: str = Field(description="What a person can do about it.")
    theirs: GatewaySide | None = Field(description="Null: the gateway does not know the payment.")
    ours: OurSideOut
    first_seen: datetime
    last_seen: datetime
    repaired_at: datetime | None = Field(description="Since when a repair is under way.")
    flagged_at: datetime | None = Field(description="Since when somebody should look.")
    resolved_at: datetime | None
    resolution: Literal["agreed", "accepted"] | None = Field(
        description="`agreed`: gone by itself or by its repair. `accepted`: a person says that it may stay so."
    )
    resolved_by: str | None
    note: str | None


class ReconciliationOut(Answer):
    """The last runs, newest first, and what is open."""

    runs: list[RunOut]
    findings: list[FindingOut]
    next_after: str | None = Field(description="`after` of the next page of findings; null on the last.")


def reconciliation_out(runs: Sequence[Run], findings: Sequence[Finding], limit: int) -> ReconciliationOut:
    """The page, and where the next one begins."""
    return ReconciliationOut(
        runs=[_run_out(run) for run in runs],
        findings=[finding_out(one) for one in findings],
        next_after=findings[-1].id if len(findings) == limit else None,
    )


def finding_out(one: Finding) -> FindingOut:
    """The finding for an operator."""
    same = FindingOut.model_fields.keys() - {"why", "to_do", "theirs", "ours"}
    gateway = one.detail["gateway"]
    return FindingOut(
        **{name: getattr(one, name) for name in same},
        why=ADVICE[one.kind].why,
        to_do=ADVICE[one.kind].to_do,
        theirs=GatewaySide(**gateway) if gateway else None,
        ours=OurSideOut(**one.detail["ours"]),
    )


def finding_id(text: str) -> str:
    """A finding's id. Raises NotFound for what none can have."""
    if not re.fullmatch(_UUID, text):
        raise NotFound
    return text


def _run_out(run: Run) -> RunOut:
    same = RunOut.model_fields.keys() - {"counts"}
    return RunOut(**{name: getattr(run, name) for name in same}, counts=CountsOut(**run.counts.as_dict()))
