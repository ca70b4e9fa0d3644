"""Which versions a cluster is made of. What is built with Go is pinned in go/go.mod and read from there.

Everything else comes from Debian, in the version that the distribution has.
"""

import functools
import re
from pathlib import Path

GO_MODULE = Path(__file__).resolve().parents[2] / "go"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10.1"  # the name that the container runtime asks for


@functools.cache
def _go_mod() -> str:
    return (GO_MODULE / "go.mod").read_text()


def of(module: str) -> str:
    """The pinned version of a Go module, with its `v`."""
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)", _go_mod(), re.MULTILINE)
    if found is None:
        raise LookupError(f"go.mod does not require {module}")
    return found.group(1)


def kubernetes() -> str:
    return of("k8s.io/kubernetes")


def helm() -> str:
    return of("helm.sh/helm/v4")


def coredns() -> str:
    return of("github.com/coredns/coredns")


def coredns_image() -> str:
    """The image that the cluster's DNS runs from, as upstream's manifests name it."""
    return f"registry.k8s.io/coredns/coredns:{coredns()}"


def least_go() -> tuple[int, ...]:
    """The oldest Go toolchain that compiles all of it."""
    found = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", _go_mod(), re.MULTILINE)
    if found is None:
        raise LookupError("go.mod has no go line")
    return tuple(int(part or 0) for part in found.groups())
