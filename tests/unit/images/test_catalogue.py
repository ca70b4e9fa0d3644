"""What is built: every image has its stage, and every image that a manifest of ours names is there."""

import pathlib
import re

import pytest
import yaml

from seta_playground import paths
from seta_playground.images import catalogue

ROOT = pathlib.Path(__file__).parents[3]
PROGRAMS = pathlib.Path("/nowhere")
IMAGES = [image for bundle in catalogue.bundles(PROGRAMS) for image in bundle.images]


def stages(containerfile):
    return re.findall(r"^FROM \S+ AS (\S+)$", containerfile.read_text(), re.MULTILINE)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_every_image_has_its_stage(image):
    assert not image.target or image.target in stages(image.containerfile)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_everything_that_decides_about_an_image_exists(image):
    made_later = {PROGRAMS / "coredns"}
    assert not [given for given in image.inputs if given not in made_later and not given.exists()]


def test_no_name_is_used_twice():
    assert len({image.name for image in IMAGES}) == len(IMAGES)


def test_the_demo_runs_from_images_that_there_are():
    named = set()
    for manifest in (ROOT / "examples").rglob("*.yaml"):
        for document in yaml.safe_load_all(manifest.read_text()):
            spec = document.get("spec", {})
            pod = spec.get("template", {}).get("spec", spec)
            named |= {one["image"] for one in pod.get("containers", ())}
    assert named
    assert named <= {image.name for image in IMAGES}


def test_the_charts_images_are_those_that_are_built():
    values = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text())
    version = yaml.safe_load((ROOT / "deploy/chart/Chart.yaml").read_text())["appVersion"]
    wanted = {f"{image['repository']}:{version}" for image in (values["image"], values["operator"]["image"])}
    assert wanted <= {image.name for image in IMAGES}


@pytest.mark.parametrize("part", sorted(catalogue.PACKAGES))
def test_every_package_in_an_image_is_pinned_by_hash(part):
    text = (paths.CHECKOUT / f"deploy/requirements-{part}.txt").read_text()
    pins = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert pins
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)


def test_every_stage_starts_from_the_base_that_can_be_made_without_a_registry():
    for image in IMAGES:
        known = {catalogue.BASE, "scratch", *stages(image.containerfile)}
        bases = re.findall(r"^FROM (\S+)", image.containerfile.read_text(), re.MULTILINE)
        assert set(bases) <= known
