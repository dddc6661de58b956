"""The layers, as import-linter's contracts in pyproject.toml state them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_import_crosses_a_layer() -> None:
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    linted = subprocess.run([*argv, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert " kept, 0 broken" in linted.stdout
