"""All work that is done once: packages, programs, images. `playground install`, and the first thing `up` does.

Everything has a key made of what goes into it, so a second call looks and returns.
"""

from pathlib import Path

from seta_playground import binaries, containerd, packages, paths
from seta_playground.images import build, registry
from seta_playground.progress import Progress


def programs(progress: Progress, ready_binaries: str | None = None) -> binaries.Binaries:
    """Debian's packages, and the programs of Kubernetes."""
    user_directory = binaries.user_directory(ready_binaries)
    packages.ensure(progress)
    return binaries.ensure(paths.cache_dir(), progress, user_directory)


def images(progress: Progress, found: binaries.Binaries, *, seta: bool = True) -> Path:
    """A containerd root with every image in it; without `seta`, those that a plain network needs."""
    cache, coredns = paths.cache_dir(), found.path("coredns").parent
    archives = build.ensure(cache, progress, registry_reachable=registry.reachable(), programs=coredns, own=seta)
    return containerd.template(cache, archives, progress)
