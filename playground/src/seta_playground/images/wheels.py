"""Python packages for the images, downloaded by the machine's own pip with whatever configuration it has.

Called by build.py. Builds then need no package index: no address, proxy or certificate of this machine gets near
an image. Everything is checked against the hashes in the requirements file, here and in the build again.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from seta_playground.errors import PlaygroundError

PYTHON = "3.11"  # Debian bookworm's
GLIBC = range(17, 37)  # minor versions of glibc 2 whose wheels run on bookworm


def ensure(cache: Path, requirements: Path) -> Path:
    """A directory with a wheel for each requirement."""
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    directory = cache / f"{requirements.stem}-{key}"
    if directory.is_dir():
        return directory
    unfinished = cache / ".downloading"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _download(requirements, unfinished)
    for older in cache.glob(f"{requirements.stem}-*"):
        shutil.rmtree(older)
    unfinished.rename(directory)
    return directory


def _download(requirements: Path, into: Path) -> None:
    # Markers are judged by the Python that runs pip, so take one of the image's version where there is one.
    python = shutil.which(f"python{PYTHON}") or sys.executable
    machine = "x86_64"
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC] + [f"manylinux2014_{machine}"]
    command = [
        *(python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"),
        *("--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"),
        *(f"--abi={abi}" for abi in ("cp311", "abi3", "none")),
        *(f"--platform={platform}" for platform in platforms),
        *("--dest", str(into), "--requirement", str(requirements)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"pip could not download {requirements.name}:\n{done.stderr[-2000:]}")
