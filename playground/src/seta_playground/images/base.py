"""The base image where no registry is reachable: Debian made from its packages, under the name that FROM asks for.

Called by build.py. It has the packages that the agent, the operator and the toolbox all need, so that the layer
which everything shares is this one; the Containerfiles ask for them again, and find them there.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from seta_playground.errors import PlaygroundError
from seta_playground.images import catalogue
from seta_playground.images.buildah import Buildah

PACKAGES = ("usr-is-merged", "python3", "libbpf1", "ca-certificates")  # the first keeps perl out
LEFT_OUT = ("man/*", "doc/*", "locale/*", "info/*", "lintian/*", "zoneinfo/right/*")  # below /usr/share


def ensure(buildah: Buildah) -> None:
    """Make it where the store does not have it: half a minute, once."""
    if buildah.has(catalogue.BASE):
        return
    with tempfile.TemporaryDirectory(dir=buildah.store) as directory:
        _bootstrap(Path(directory) / "rootfs.tar")
        containerfile = Path(directory) / "Containerfile"
        containerfile.write_text('FROM scratch\nADD rootfs.tar /\nCMD ["bash"]\n')
        buildah.bud(["--tag", catalogue.BASE, "--file", containerfile], Path(directory))


def _bootstrap(tar: Path) -> None:
    program = shutil.which("mmdebstrap")
    if program is None:
        raise PlaygroundError(
            "no registry is reachable, and the base image is then made by mmdebstrap: apt-get install it"
        )
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in LEFT_OUT]
    command = [
        *(program, "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--aptopt=APT::Install-Recommends false"),
        *left_out,
        *("bookworm", str(tar)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
