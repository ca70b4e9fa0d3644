"""Builds netbench.c and puts it into pods: called by the benchmarks and by the end-to-end tests that need load."""

import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).with_name("netbench.c")


def binary(directory: pathlib.Path) -> pathlib.Path:
    """A static binary, built once per directory and source version."""
    out = directory / "netbench"
    if not out.exists() or out.stat().st_mtime < SOURCE.stat().st_mtime:
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-static", "-o", out, SOURCE], check=True)
    return out
