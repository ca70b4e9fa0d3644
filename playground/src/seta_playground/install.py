"""All work that is done once: packages, programs, images. `playground install`, and the first thing `up` does.

Everything has a key made of what goes into it, so a second call looks and returns.
"""

from dataclasses import dataclass
from pathlib import Path

from seta_playground import binaries, containerd, packages, paths
from seta_playground.images import build, registry
from seta_playground.progress import Progress


@dataclass(frozen=True)
class Installed:
    programs: binaries.Binaries
    images: Path  # a containerd root with every image in it


def ensure(progress: Progress, ready_binaries: str | None = None, *, seta: bool = True) -> Installed:
    """Install what is missing and say where it is; without `seta`, what a cluster on the plain network needs."""
    cache = paths.cache_dir()
    user_directory = binaries.user_directory(ready_binaries)
    packages.ensure(progress)
    programs = binaries.ensure(cache, progress, user_directory)
    coredns = programs.path("coredns").parent
    images = build.ensure(cache, progress, registry_reachable=registry.reachable(), programs=coredns, own=seta)
    return Installed(programs, containerd.template(cache, images, progress))
