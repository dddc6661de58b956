"""The `holdfast` command as a person runs it: a program of its own, on a test's database."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """How the program ended, and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Runs `holdfast` in the development environment, with no launcher beside it."""

    database_url: str

    async def run(self, *arguments: str, given: str = "", **environment: str) -> Done:
        """The program's end; at most a minute. `given`: what stands in its standard input."""
        return await asyncio.to_thread(self._run, arguments, given, environment)

    def _run(self, arguments: tuple[str, ...], given: str, environment: Mapping[str, str]) -> Done:
        # Byte code is kept: without it each of these programs would compile all that it imports, for seconds.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        ours = {name: value for name, value in kept.items() if not name.startswith("HOLDFAST_")}
        ours |= {"HOLDFAST_ENV": "development", "HOLDFAST_DATABASE_URL": self.database_url}
        ours |= {"HOLDFAST_DATA_DIR": "/nonexistent", "COLUMNS": "200", "NO_COLOR": "1", "PYTHONWARNINGS": "error"}
        ended = subprocess.run(
            [sys.executable, "cli.py", *arguments],
            cwd=ROOT, env={**ours, **environment}, input=given, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return Done(ended.returncode, ended.stdout, ended.stderr)
