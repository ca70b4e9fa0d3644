"""The few things asked of buildah, on a store of its own in the cache: the machine's container storage stays untouched.

Called by base.py, build.py and bundle.py. `--isolation chroot` builds without a container runtime and its cgroups;
the overlay driver, which containerd needs from the same machine anyway, makes a cached step cost milliseconds,
where vfs copies the whole tree.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seta_playground.errors import PlaygroundError

TELLING = 25  # last lines of a failed build that the user sees


@dataclass(frozen=True)
class Buildah:
    store: Path
    log: Path

    def bud(self, arguments: Sequence[str | Path], context: Path) -> None:
        """Build an image; PlaygroundError with the end of its output where that fails."""
        command: list[str | Path] = ["bud", "--layers", "--isolation", "chroot", "--format", "oci"]
        self._run([*command, *arguments, context])

    def push(self, image: str, directory: Path) -> None:
        """Write manifest, config and uncompressed layers as files named by their digest."""
        self._run(["push", "-q", "--disable-compression", "--format", "oci", image, f"dir:{directory}"])

    def pull(self, image: str) -> bool:
        """Whether a registry had it."""
        return self._ask("pull", "-q", "--policy", "ifnewer", image)

    def has(self, image: str) -> bool:
        return self._ask("inspect", "--type", "image", "--format", "{{.FromImageID}}", image)

    def _command(self) -> list[str | Path]:
        program = shutil.which("buildah")
        if program is None:
            raise PlaygroundError("images are built with buildah: apt-get install buildah")
        driver = "vfs" if _on_overlay(self.store) else "overlay"
        store: list[str | Path] = [
            "--storage-driver",
            driver,
            "--root",
            self.store / driver,
            "--runroot",
            self.store / "run",
        ]
        # It leaves mounts of its layers behind; in a mount namespace of its own they end with it.
        return ["unshare", "--mount", "--propagation", "private", program, *store]

    def _ask(self, *arguments: str) -> bool:
        done = subprocess.run([*self._command(), *arguments], capture_output=True, check=False)
        return done.returncode == 0

    def _run(self, arguments: Sequence[str | Path]) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            began = log.tell()
            log.write(f"+ buildah {' '.join(map(str, arguments))}\n")
            log.flush()
            done = subprocess.run([*self._command(), *arguments], stdout=log, stderr=log, check=False)
        if done.returncode != 0:
            with self.log.open() as log:
                log.seek(began)
                end = "".join(log.readlines()[-TELLING:])
            raise PlaygroundError(f"buildah {arguments[0]} failed (all of it in {self.log}):\n{end}")


def _on_overlay(directory: Path) -> bool:
    """Overlayfs cannot lie on overlayfs, which is where a cache inside a container may be."""
    directory.mkdir(parents=True, exist_ok=True)
    command = ["stat", "--file-system", "--format", "%T", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "overlayfs"
