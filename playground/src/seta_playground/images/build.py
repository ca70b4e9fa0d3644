"""Build what is missing, and hand out the tars. The one door of this package.

Called by the command `up` before any node starts, and again after a change of the code: a bundle whose inputs are
the same is not looked at twice, and one that changed is rebuilt from the first step that changed.
"""

import os
import shutil
from pathlib import Path

from seta_playground import locks
from seta_playground.images import base, bundle, catalogue, digest, wheels
from seta_playground.images.buildah import Buildah
from seta_playground.images.catalogue import Bundle, Image
from seta_playground.progress import Progress

TARS_KEPT = 6
# Debian has /mnt: a mount point of its own would stay in the image as an empty directory.
PIP_OFFLINE = "[global]\nno-index = true\nfind-links = /mnt\n"


def ensure(
    cache_dir: Path, report: Progress, *, registry_reachable: bool, programs: Path, own: bool = True
) -> list[Path]:
    """The tars to import on every node, one per bundle, what changes least first; without `own`, none of Seta's.

    `programs` is the directory that has the `coredns` binary. PlaygroundError where a build fails.
    """
    cache = cache_dir / "images"
    with locks.held(cache / "lock", report, "waiting for another build of the images"):
        return [
            _bundle(cache, wanted, report, registry_reachable=registry_reachable)
            for wanted in catalogue.bundles(programs, own=own)
        ]


def _bundle(cache: Path, wanted: Bundle, report: Progress, *, registry_reachable: bool) -> Path:
    tar = cache / f"{wanted.name}-{digest.of_bundle(wanted, str(registry_reachable))}.tar"
    if tar.is_file():
        os.utime(tar)
        return tar
    buildah = Buildah(cache / "store", cache / "build.log")
    if not registry_reachable and not buildah.has(catalogue.BASE):
        with report.step("base image from Debian packages, as no registry is reachable"):
            base.ensure(buildah)
    for image in wanted.images:
        _image(cache, buildah, image, report, registry_reachable=registry_reachable)
    with report.step(f"packing the {wanted.name} images"):
        bundle.write(buildah, wanted.images, tar)
    _forget_old(cache, wanted.name)
    return tar


def _forget_old(cache: Path, name: str) -> None:
    """All but the last few: another checkout's `up` may be about to import one."""
    tars = sorted(cache.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime)
    for old in tars[:-TARS_KEPT]:
        old.unlink()


def _image(cache: Path, buildah: Buildah, image: Image, report: Progress, *, registry_reachable: bool) -> None:
    if image.public and registry_reachable:
        with report.step(f"pulling {image.name}"):
            if buildah.pull(image.name):
                return
        report.say(f"{image.name} is not to be had from its registry")
    title = f"building a stand-in for {image.name}" if image.public else f"building {image.name}"
    with report.step(title):
        arguments: list[str | Path] = ["--tag", image.name, "--file", image.containerfile]
        if image.target:
            arguments += ["--target", image.target]
        if not registry_reachable:
            arguments += ["--pull-never"]
        buildah.bud([*arguments, *_offline_pip(cache, image)], image.context)


def _offline_pip(cache: Path, image: Image) -> list[str | Path]:
    """Arguments that give a build its Python packages as files."""
    if image.requirements is None:
        return []
    downloaded = wheels.ensure(cache / "wheels", image.requirements)
    configuration = cache / "pip.conf"
    configuration.write_text(PIP_OFFLINE)
    ignore = image.containerfile.with_name(f"{image.containerfile.name}.dockerignore")
    return [
        *("--ignorefile", ignore),
        *("--volume", f"{downloaded}:/mnt:ro"),
        *("--secret", f"id=pip.conf,src={configuration}"),
    ]


def forget(cache_dir: Path) -> None:
    """Remove everything that this package has cached."""
    shutil.rmtree(cache_dir / "images", ignore_errors=True)
