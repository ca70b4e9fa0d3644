"""containerd on a node: its configuration, and a start with all images already there.

Images are imported once into a template in the cache, one per set of images. A node's own root is a copy of it
in which files of images are hard links (nothing ever writes to them: containers see them through overlays) and
databases are real copies. So a node has its images in a fraction of a second and for no disk space.
Called by install.py (template), node.py (copy, service) and cli.py (`load`).
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from seta_playground import locks, versions
from seta_playground.errors import PlaygroundError
from seta_playground.node_spec import Service
from seta_playground.progress import Progress

ROOT = "/var/lib/containerd"
SOCKET = "/run/containerd/containerd.sock"
CONFIG = "/etc/containerd/config.toml"
DATABASES = "*/*.db"  # copied, not linked
START_TIMEOUT = 20.0  # seconds
TEMPLATES_KEPT = 6
LIFELINE = ("setpriv", "--pdeathsig", "KILL", "--")  # what it runs dies with this process, however that ends

CRI = 'plugins."io.containerd.grpc.v1.cri"'
CONFIGURATION = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"{disabled}]
[grpc]
address = "{state}/containerd.sock"
[{cri}]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
[{cri}.cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"""


def config(root: str = ROOT, state: str = "/run/containerd", *, cri: bool = True) -> str:
    disabled = "" if cri else ', "io.containerd.grpc.v1.cri"'
    return CONFIGURATION.format(root=root, state=state, disabled=disabled, cri=CRI, pause=versions.PAUSE_IMAGE)


def service() -> Service:
    return Service("containerd", ["containerd", "--config", CONFIG])


def import_command(tar: str) -> list[str]:
    """The command that brings an image archive (`-`: from its input) to the kubelet's attention."""
    return ["ctr", "--namespace", "k8s.io", "images", "import", tar]


def template(cache: Path, images: Sequence[Path], progress: Progress) -> Path:
    """A containerd root with the images of these archives, made where the cache has none yet.

    One archive is added to a copy of the template of those before it, so what changes most should come last.
    """
    roots = cache / "images-imported"
    with locks.held(roots / "lock", progress, "waiting for another import of images"):
        before: Path | None = None
        for count, image in enumerate(images, 1):
            root = roots / _key(images[:count])
            if not root.is_dir():
                with progress.step(f"importing {image.name}"):
                    _make_template(root, before, image)
            os.utime(root)
            before = root
        if before is None:
            raise PlaygroundError("there are no images to import")
        _forget_old(roots)
        return before


def _forget_old(roots: Path) -> None:
    """Nodes of running clusters have links of their own to what is removed here."""
    templates = sorted((path for path in roots.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in templates[:-TEMPLATES_KEPT]:
        shutil.rmtree(old)


def copy_template(template_root: Path, into: Path) -> None:
    """Make a node's own root of a template."""
    shutil.rmtree(into, ignore_errors=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", template_root, into], check=True, capture_output=True)
    for linked in into.glob(DATABASES):
        own = linked.with_suffix(".own")
        shutil.copy2(linked, own)
        own.replace(linked)


def _key(images: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.name}:{image.stat().st_size}\n".encode())  # names change with the content
    return digest.hexdigest()[:12]


def _make_template(root: Path, before: Path | None, image: Path) -> None:
    """Run a containerd of its own, in a mount namespace of its own, just for the import."""
    unfinished = root.parent / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    if before:
        copy_template(before, unfinished)
    with tempfile.TemporaryDirectory(prefix="seta-playground-") as state:
        file = Path(state) / "config.toml"
        file.write_text(config(str(unfinished), state, cri=False))
        command = [*LIFELINE, "unshare", "--mount", "containerd", "--config", str(file)]
        with (Path(state) / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
            try:
                _wait_for(Path(state) / "containerd.sock", daemon, Path(state) / "log")
                _import(image, state)
            finally:
                daemon.terminate()
    unfinished.rename(root)


def _wait_for(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise PlaygroundError(f"containerd did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def _import(image: Path, state: str) -> None:
    command = ["ctr", "--address", f"{state}/containerd.sock", *import_command(str(image))[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"{image} is no image that containerd can import: {done.stderr.strip()[-500:]}")
