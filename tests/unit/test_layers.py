"""The layers are kept, and nothing happens at import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPORT_EVERYTHING = f"""
import importlib, pkgutil, socket, sys, threading
sys.path.insert(0, {str(ROOT)!r})

def refuse(*args, **kwargs):
    raise RuntimeError("a module reaches out while it is imported")

socket.socket.connect = refuse
threads = threading.active_count()
packages = ["activities", "api", "db", "domain", "local", "workflows"]
names = ["cli", "settings", "worker", *packages]
for package in packages:
    names += [found.name for found in pkgutil.walk_packages([{str(ROOT)!r} + "/" + package], package + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
assert threading.active_count() == threads, threading.enumerate()
assert len(names) > 60, names
"""


def test_no_layer_imports_what_it_may_not() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Layers: left may import right KEPT" in done.stdout


def test_every_module_imports_with_an_empty_environment_and_does_nothing() -> None:
    command = [sys.executable, "-I", "-W", "error", "-c", IMPORT_EVERYTHING]
    done = subprocess.run(command, cwd="/", env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
