"""Which Go compiles the binaries: the machine's where it is new enough, else the one locked beside the Python packages.

Called by binaries.py when there is something to build.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from seta_playground import versions
from seta_playground.errors import PlaygroundError


def find() -> Path:
    """A `go` that is new enough."""
    least = versions.least_go()
    for go in _candidates():
        if _version(go) >= least:
            return go
    wanted = ".".join(map(str, least))
    raise PlaygroundError(f"no Go {wanted} or newer: install one, or run `make venv`, which brings a pinned one")


def environment(cache: Path) -> dict[str, str]:
    """The environment that Go runs in: its own build cache, which is what an interrupted build goes on from.

    GOGC: the compiler collects its garbage four times less often, for a fifth less time at about 2 GiB.
    """
    own = {
        "GOCACHE": str(cache / "go-build"),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOGC": "400",
        "GOWORK": "off",
    }
    return {**os.environ, **own}


def _candidates() -> list[Path]:
    on_path = shutil.which("go")
    places = [Path(on_path)] if on_path else []
    places += [Path("/usr/local/go/bin/go"), Path(sys.executable).parent / "go"]
    return [place for place in places if place.exists()]


def _version(go: Path) -> tuple[int, ...]:
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    told = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=env)
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", told.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)
