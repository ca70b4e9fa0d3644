"""Where the playground keeps things. Everything it writes lies below one of these two directories.

- the cache (`SETA_PLAYGROUND_CACHE`, else `~/.cache/seta-playground`): what is made once; survives `down`
- the run directory of one cluster (`/run/seta-playground/NAME`): what `down` removes
"""

import os
from pathlib import Path

RUN = Path("/run/seta-playground")
CHECKOUT = Path(__file__).resolve().parents[3]


def cache_dir() -> Path:
    """The directory of everything that is made once."""
    chosen = os.environ.get("SETA_PLAYGROUND_CACHE")
    if chosen:
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "seta-playground"


def run_dir(cluster: str) -> Path:
    """The run directory of one cluster."""
    return RUN / cluster


def data_dir(cluster: str) -> Path:
    """Images and volumes of one cluster's nodes: on the cache's filesystem, so that images can be hard links."""
    return cache_dir() / "clusters" / cluster
