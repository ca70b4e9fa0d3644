"""Images from the store into one tar, in the layout that container runtimes import: each layer once, uncompressed.

Called by build.py. Uncompressed, because the tar never travels: unpacking is then copying, on every node.
"""

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from seta_playground.images.buildah import Buildah
from seta_playground.images.catalogue import Image

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def write(buildah: Buildah, images: tuple[Image, ...], tar: Path) -> None:
    """Write `tar`, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=tar.parent, prefix=".bundle-") as scratch:
        exported = Path(scratch) / "image"
        blobs: dict[str, Path] = {}  # digest -> file
        manifests = []
        for number, image in enumerate(images):
            directory = exported.with_name(str(number))
            buildah.push(image.name, directory)
            manifests.append(_collect(image.name, directory, blobs))
        unfinished = Path(scratch) / "tar"
        _pack(unfinished, blobs, manifests)
        unfinished.replace(tar)


def _collect(name: str, directory: Path, blobs: dict[str, Path]) -> dict[str, Any]:
    """Note an exported image's files by digest, dropping those known already; its entry in the index."""
    manifest = (directory / "manifest.json").read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    (directory / "manifest.json").rename(directory / digest)
    for file in directory.iterdir():
        if file.name == "version":
            continue
        if file.name in blobs:
            file.unlink()
        else:
            blobs[file.name] = file
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    return {"mediaType": MANIFEST, "digest": f"sha256:{digest}", "size": len(manifest), "annotations": annotations}


def _pack(path: Path, blobs: dict[str, Path], manifests: list[dict[str, Any]]) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _add(tar, "index.json", {"schemaVersion": 2, "manifests": manifests})
        for digest, file in sorted(blobs.items()):
            entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)


def _add(tar: tarfile.TarFile, name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text))
