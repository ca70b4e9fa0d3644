"""One at a time, across processes: the build, and `up` and `down` of one cluster.

A lock is an flock, so that it goes with the process that holds it, however that ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seta_playground.errors import PlaygroundError
from seta_playground.progress import Progress


@contextmanager
def held(path: Path, progress: Progress | None = None, waiting: str = "") -> Iterator[None]:
    """Hold the lock at `path`. With `waiting`, wait for another holder after saying that; without, fail."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                raise PlaygroundError(f"another playground command is at work here (it holds {path})") from None
            if progress:
                progress.say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
