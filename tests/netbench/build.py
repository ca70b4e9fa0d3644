"""Builds netbench and puts it into pods: called by the benchmarks and by the end-to-end tests that need load."""

import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent
SOURCES = [HERE / name for name in ("netbench.c", "visit.c")]


def binary(directory: pathlib.Path) -> pathlib.Path:
    """A static binary, built once per directory and source version."""
    out = directory / "netbench"
    if not out.exists() or out.stat().st_mtime < max(one.stat().st_mtime for one in SOURCES):
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-static", "-o", out, *SOURCES], check=True)
    return out
