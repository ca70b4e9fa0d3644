"""The programs of Debian that the playground runs on. Missing ones are installed by the project's own list.

Called by install.py. Where there is no apt-get, what is missing is named.
"""

import shutil
import subprocess

from seta_playground import paths
from seta_playground.errors import PlaygroundError
from seta_playground.progress import Progress

INSTALLER = paths.CHECKOUT / "tools" / "apt-install.sh"
PROGRAMS = {  # program -> the Debian package that has it
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}


def ensure(progress: Progress) -> None:
    """Install what is missing."""
    missing = _missing()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise PlaygroundError(f"install these first (Debian's names): {' '.join(missing)}")
    with progress.step(f"Debian packages, {' '.join(missing)} among them"):
        done = subprocess.run([INSTALLER], capture_output=True, text=True, check=False)
    if done.returncode != 0 or _missing():
        raise PlaygroundError(f"missing: {' '.join(_missing())}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def _missing() -> list[str]:
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
