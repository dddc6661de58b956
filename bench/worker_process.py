"""The worker of the measurements: Holdfast's own, plus the yardstick. Run as `python -m bench.worker_process`."""

from __future__ import annotations

import os

import worker
from bench.empty import EmptyWorkflow, RunningWorkflow
from domain.parts import Part
from settings import Settings

if __name__ == "__main__":
    os.environ.setdefault("HOLDFAST_ENV", "development")
    worker.main(Settings(), parts=[Part.CHECKOUTS], also=[EmptyWorkflow, RunningWorkflow])
