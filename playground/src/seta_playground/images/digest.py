"""What an image is made of, as one short key: the same key, the same image.

Called by build.py before anything else is done, so it must be quick: it reads sources, a few megabytes.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from seta_playground.images.catalogue import Bundle, Image

NOT_SOURCES = {"__pycache__", ".mypy_cache", ".ruff_cache", "build", "dist"}
SCHEME = "2"  # raise it when what is made of the same inputs changes


def of_bundle(bundle: Bundle, *salt: str) -> str:
    """12 hex digits; `salt` is whatever else decides."""
    digest = hashlib.sha256(" ".join((SCHEME, *salt)).encode())
    for image in bundle.images:
        digest.update(of_image(image).encode())
    return digest.hexdigest()[:12]


def of_image(image: Image) -> str:
    digest = hashlib.sha256(f"{image.name} {image.target}".encode())
    for given in (image.containerfile, *image.inputs):
        for file in _files(given):
            digest.update(f"{file.relative_to(given.parent)} {file.stat().st_mode & 0o111}".encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _files(given: Path) -> Iterator[Path]:
    if given.is_file():
        yield given
        return
    for entry in sorted(given.iterdir()):
        if entry.name not in NOT_SOURCES and not entry.name.endswith(".egg-info"):
            yield from _files(entry)
