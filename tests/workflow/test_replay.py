"""Recorded histories of every path replay, a changed workflow does not, and none of them tells who bought."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

import worker
from domain.naming import CHECKOUT
from tests.support.paths import PATHS
from tests.support.till import IDENTITY
from tests.workflow.broken import BrokenCheckoutWorkflow
from tests.workflow.record import HISTORIES
from workflows.runner import runner

RECORDED = sorted(HISTORIES.glob("*.json"))
OTHERS = ("late_payment", "order_refunded", "fulfil", "consistency_check", "purge_tokens", "reconciliation")
CHECKOUTS = [path for path in RECORDED if not path.stem.startswith(OTHERS)]
E_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
MACHINE = re.compile(r"/home/|/root/|/tmp/|/usr/|\.py\b|\d+@\w")


def recorded(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


def test_there_is_a_history_of_every_path() -> None:
    assert {path.stem for path in RECORDED} == set(PATHS)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(workflows=worker.WORKFLOWS, workflow_runner=runner())
    await replayer.replay_workflow(recorded(path))


@pytest.mark.parametrize("path", CHECKOUTS, ids=lambda path: path.stem)
async def test_a_workflow_changed_without_a_patch_fails_the_replay(path: Path) -> None:
    history = recorded(path)
    assert history.events[0].workflow_execution_started_event_attributes.workflow_type.name == CHECKOUT
    replayer = Replayer(workflows=[BrokenCheckoutWorkflow], workflow_runner=runner())
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(history)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_history_tells_of_no_person_and_of_no_machine(path: Path) -> None:
    texts = list(texts_of(json.loads(path.read_text())))
    assert IDENTITY in texts
    for text in texts:
        assert not E_MAIL.search(text), text
        assert not MACHINE.search(text), text
    identities = {value for key, value in pairs_of(json.loads(path.read_text())) if key == "identity"}
    assert identities <= {IDENTITY, ""}


def texts_of(node: Any) -> Iterator[str]:
    """Every text in a history, payloads decoded."""
    for key, value in pairs_of(node):
        if isinstance(value, str):
            yield base64.b64decode(value).decode() if key == "data" else value


def pairs_of(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from pairs_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from pairs_of(value)
