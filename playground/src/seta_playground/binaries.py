"""The programs of Kubernetes, built once from their Go modules into the cache.

Three links make ten programs: what runs on nodes is one binary, kubectl and helm another, CoreDNS the third
(see go/cmd). The cache's key is everything that goes into them, so nothing is built twice and nothing stale is
used. Go's own build cache lies beside it: an interrupted build goes on where it was.

Called by install.py; `Binaries` is handed to whatever starts or names a program.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seta_playground import locks, toolchain, versions
from seta_playground.errors import PlaygroundError
from seta_playground.progress import Progress

LINKS = {  # binary -> the names that it is called by
    "kube": ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    "client": ("kubectl", "helm"),
    "coredns": (),
}
NAMES = tuple(name for binary, names in LINKS.items() for name in names or (binary,))
FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")  # no debug information: an eighth less to compile


@dataclass(frozen=True)
class Binaries:
    built: Path
    chosen: Mapping[str, Path]  # name -> the user's own binary, used instead of the built one

    def path(self, name: str) -> Path:
        return self.chosen.get(name, self.built / name)

    def directories(self) -> list[Path]:
        """Every directory that programs run from."""
        return sorted({self.built, *(path.parent for path in self.chosen.values())})


def ensure(cache: Path, progress: Progress, user_directory: Path | None = None) -> Binaries:
    """All programs: the user's where the directory named by them has one, built ones for the rest."""
    chosen = _chosen(user_directory)
    built = cache / "bin" / key()
    if not built.is_dir() and set(NAMES) - set(chosen):
        with locks.held(cache / "build.lock", progress, "waiting for another build of the same programs"):
            if not built.is_dir():
                _build(cache, built, progress)
    return Binaries(built, chosen)


def key() -> str:
    """Changes whenever the programs would."""
    digest = hashlib.sha256(" ".join([_ldflags(), *FLAGS]).encode())
    sources = [versions.GO_MODULE / "go.mod", versions.GO_MODULE / "go.sum"]
    for file in [*sources, *sorted(versions.GO_MODULE.glob("cmd/*/*.go"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def user_directory(option: str | None) -> Path | None:
    """The directory of ready binaries that the user names, by option or as test suites of operators do."""
    named = option or os.environ.get("KUBEBUILDER_ASSETS")
    if not named:
        return None
    directory = Path(named).resolve()
    if not directory.is_dir():
        raise PlaygroundError(f"{named} (--binaries or KUBEBUILDER_ASSETS) is no directory")
    return directory


def _chosen(directory: Path | None) -> dict[str, Path]:
    if directory is None:
        return {}
    found = {name: directory / name for name in (*NAMES, "etcd")}
    return {name: path for name, path in found.items() if os.access(path, os.X_OK)}


def _ldflags() -> str:
    kubernetes = versions.kubernetes()
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    base = "k8s.io/component-base/version"
    values = {  # variable -> value: kubectl and helm parse these
        f"{base}.gitVersion": kubernetes,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        f"{base}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": kubernetes,
        "helm.sh/helm/v4/internal/version.version": versions.helm(),
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])


def _build(cache: Path, into: Path, progress: Progress) -> None:
    go, env = toolchain.find(), toolchain.environment(cache)
    into.parent.mkdir(parents=True, exist_ok=True)
    for killed in into.parent.glob(".building-*"):
        shutil.rmtree(killed)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".building-") as directory:
        with progress.step(f"Go modules of Kubernetes {versions.kubernetes()}"):
            _run([go, "mod", "download"], env)
        with progress.step(
            f"building Kubernetes {versions.kubernetes()}, helm {versions.helm()}, CoreDNS {versions.coredns()}"
        ):
            _compile(go, env, Path(directory), progress)
        for binary, names in LINKS.items():
            for name in names:
                (Path(directory) / name).symlink_to(binary)
        Path(directory).chmod(0o755)
        Path(directory).rename(into)


def _compile(go: Path, env: dict[str, str], into: Path, progress: Progress) -> None:
    packages = [f"./cmd/{binary}" for binary in LINKS]
    stale = _run([go, "list", *FLAGS, "-deps", "-f", "{{.Stale}}", *packages], env).split()
    already, total = stale.count("false"), len(stale)
    command: list[str | Path] = [go, "build", "-v", *FLAGS, "-ldflags", _ldflags(), "-o", f"{into}/", *packages]
    with subprocess.Popen(command, cwd=versions.GO_MODULE, env=env, stderr=subprocess.PIPE, text=True) as build:
        said = []
        for line in build.stderr or ():
            said.append(line)
            progress.note(f"compiling: {min(already + len(said), total)} of {total} packages, {line.strip()}")
    if build.returncode != 0:
        raise PlaygroundError(f"go build failed:\n{''.join(said[-15:])}")


def _run(command: list[str | Path], env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=versions.GO_MODULE, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"`{' '.join(map(str, command[1:3]))}` failed:\n{done.stderr[-2000:]}")
    return done.stdout
