"""Record a history of every path, or of those named: `python -m tests.workflow.record [path …]`.

Writes tests/workflow/histories/<path>.json from private servers. Recorded histories are what running checkouts look
like: one that no longer replays means that the change needs a patch (or the old build to finish its runs), and not that
the history needs recording again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.temporal import TIME_SKIPPING
from tests.support import servers
from tests.support.paths import PATHS
from tests.support.till import a_till

HISTORIES = Path(__file__).parent / "histories"
PRODUCTS = 3


async def record(database_url: str, temporal_address: str, names: Sequence[str]) -> None:
    """Walk these paths and write their histories."""
    namespace = await servers.create_namespace(temporal_address, "recorded")
    async with a_till(
        database_url, temporal_address, namespace,
        tenant="shop", products=PRODUCTS, hold_seconds=2, extension_seconds=2, maximum_seconds=6,
    ) as till:  # fmt: skip
        for name in names:
            history = await (await PATHS[name](till)).fetch_history()
            (HISTORIES / f"{name}.json").write_text(scrubbed(history.to_json_dict()))
            print(f"{name}: {len(history.events)} events")


def scrubbed(history: dict[str, Any]) -> str:
    """A history as JSON, without stack traces: they name this machine's files. Replaying needs none."""

    def without(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: "" if key == "stackTrace" else value for key, value in pairs}

    kept = json.loads(json.dumps(history), object_pairs_hook=without)
    return json.dumps(kept, indent=1, sort_keys=True) + "\n"


def main() -> None:
    folder = servers.new_folder()
    postgres = servers.private_postgres(folder / "postgres", servers.NO_POWER_CUTS)
    temporal = servers.private_temporal(folder / "temporal", TIME_SKIPPING)
    try:
        postgres.start()
        temporal.start()
        servers.create_template(postgres)
        HISTORIES.mkdir(exist_ok=True)
        asyncio.run(record(postgres.url(servers.create_database(postgres)), temporal.address, sys.argv[1:] or [*PATHS]))
    finally:
        temporal.stop()
        postgres.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
