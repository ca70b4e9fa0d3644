"""Which images there are: what each is called in manifests, and what it is built from.

Pure data. An image with `public` set is somebody else's: pulled where a registry is reachable, and only where
none is does what is built here stand in for it.
"""

from dataclasses import dataclass
from pathlib import Path

from seta_playground import paths, versions

VERSION = "0.1.0"  # of the project, and the tag of its images
BASE = "docker.io/library/debian:bookworm-slim"
TOOLBOX = f"ghcr.io/seta-net/toolbox:{VERSION}"
STARWARS = "quay.io/cilium/starwars:latest"
JSON_MOCK = "quay.io/cilium/json-mock:v1.3.8"
WHOAMI = "docker.io/traefik/whoami:v1.11.0"
STANDINS = Path(__file__).parent / "standins"
PACKAGES = {"agent": ("crds", "nodeagent"), "operator": ("crds", "operator")}  # target -> members of the workspace


@dataclass(frozen=True)
class Image:
    name: str  # as manifests write it
    containerfile: Path
    context: Path
    inputs: tuple[Path, ...]  # files and directories whose content decides what is built
    target: str = ""  # stage; empty: the last
    public: bool = False
    requirements: Path | None = None  # Python packages it installs


@dataclass(frozen=True)
class Bundle:
    """Images that are kept in one tar, in which the layers that they share are once."""

    name: str
    images: tuple[Image, ...]


def bundles(programs: Path, *, own: bool = True) -> tuple[Bundle, ...]:
    """Everything that a cluster needs. `programs` is the directory of the CoreDNS binary.

    Two, so that a change of ours does not touch what never changes.
    """
    seta = (Bundle("seta", tuple(_own(part) for part in PACKAGES)),) if own else ()
    return Bundle("apps", applications(programs)), *seta


def applications(programs: Path) -> tuple[Image, ...]:
    """What runs on the network rather than being it."""
    named = {  # stage -> name
        "pause": versions.PAUSE_IMAGE,
        "starwars": STARWARS,
        "json-mock": JSON_MOCK,
        "whoami": WHOAMI,
    }
    standins = (_application(stage, name, public=True) for stage, name in named.items())
    return (*standins, _application("toolbox", TOOLBOX), _coredns(programs))


def _application(stage: str, name: str, *, public: bool = False) -> Image:
    inputs = tuple(STANDINS / file for file in ("pause.c", "web.c"))
    return Image(name, STANDINS / "Containerfile", STANDINS, inputs, stage, public)


def _coredns(programs: Path) -> Image:
    containerfile = STANDINS / "coredns.Containerfile"
    return Image(versions.coredns_image(), containerfile, programs, (programs / "coredns",), public=True)


def _own(part: str) -> Image:
    checkout = paths.CHECKOUT
    deploy = checkout / "deploy"
    requirements = deploy / f"requirements-{part}.txt"
    members = tuple(checkout / member for member in PACKAGES[part])
    inputs = (requirements, deploy / "Containerfile.dockerignore", deploy / "python-install.sh", *members)
    name = f"ghcr.io/seta-net/seta-{part}:{VERSION}"
    return Image(name, deploy / "Containerfile", checkout, inputs, part, requirements=requirements)
