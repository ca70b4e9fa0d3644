"""Images are built when what they are made of changed, and only then; layers that they share are packed once."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import tarfile

import pytest

from seta_playground.errors import PlaygroundError
from seta_playground.images import build, bundle, catalogue, digest, wheels
from seta_playground.images.buildah import Buildah
from seta_playground.images.catalogue import Bundle, Image
from seta_playground.progress import Progress


@pytest.fixture
def image(tmp_path):
    """An image of two sources."""
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    (context / "Containerfile").write_text("FROM scratch\nCOPY src /\n")
    (context / "src/main.py").write_text("print(1)\n")
    return Image("example/one:1", context / "Containerfile", context, (context / "src",))


@dataclasses.dataclass
class FakeBuildah:
    """Builds nothing; exports each image as a layer that all share and one of its own."""

    store: pathlib.Path
    built: list[str] = dataclasses.field(default_factory=list)
    base: bool = False

    def bud(self, arguments, _context):
        self.built.append(arguments[arguments.index("--tag") + 1])
        self.base = self.base or self.built[-1] == catalogue.BASE

    def has(self, name):
        return self.base and name == catalogue.BASE

    def pull(self, _name):
        return False

    def push(self, name, directory):
        directory.mkdir()
        (directory / "version").write_text("Directory Transport Version: 1.1\n")
        layers = [self._blob(directory, content) for content in (b"shared", name.encode())]
        manifest = {"schemaVersion": 2, "layers": [{"digest": f"sha256:{layer}"} for layer in layers]}
        (directory / "manifest.json").write_text(json.dumps(manifest))

    @staticmethod
    def _blob(directory, content):
        name = hashlib.sha256(content).hexdigest()
        (directory / name).write_bytes(content)
        return name


@pytest.fixture
def buildah(monkeypatch, tmp_path):
    fake = FakeBuildah(tmp_path, base=True)
    monkeypatch.setattr(build, "Buildah", lambda store, _log: store.mkdir(parents=True, exist_ok=True) or fake)
    return fake


@pytest.fixture
def ensure(monkeypatch, tmp_path, image, buildah):
    monkeypatch.setattr(catalogue, "bundles", lambda _programs, **_: (Bundle("own", (image,)),))

    def call(**told):
        given = {"registry_reachable": False, "programs": tmp_path, **told}
        return build.ensure(tmp_path / "cache", Progress(io.StringIO()), **given)

    return call


def test_an_image_is_built_once(ensure, buildah):
    assert ensure() == ensure()
    assert buildah.built == ["example/one:1"]


def test_a_changed_source_builds_it_again(ensure, buildah, image):
    (before,) = ensure()
    (image.context / "src/main.py").write_text("print(2)\n")
    (after,) = ensure()
    assert before != after
    assert after.exists()
    assert buildah.built == ["example/one:1"] * 2


def test_the_last_few_tars_stay_for_other_checkouts_and_older_ones_go(ensure, image):
    made = []
    for number in range(build.TARS_KEPT + 2):
        (image.context / "src/main.py").write_text(f"print({number})\n")
        made += ensure()
        os.utime(made[-1], (number, number))
    assert [tar.exists() for tar in made] == [False] * 2 + [True] * build.TARS_KEPT


def test_what_only_this_machine_makes_of_sources_changes_nothing(ensure, buildah, image):
    before = ensure()
    (image.context / "src/__pycache__").mkdir()
    (image.context / "src/__pycache__/main.pyc").write_bytes(b"\0")
    assert ensure() == before


def test_a_file_that_becomes_executable_is_a_change(image):
    before = digest.of_image(image)
    (image.context / "src/main.py").chmod(0o755)
    assert digest.of_image(image) != before


def test_without_a_registry_the_base_is_made_first(ensure, buildah, monkeypatch):
    buildah.base = False
    monkeypatch.setattr(build.base, "_bootstrap", lambda tar: tar.write_bytes(b""))
    ensure()
    assert buildah.built == [catalogue.BASE, "example/one:1"]


def test_what_a_registry_does_not_have_is_built(ensure, buildah, image, monkeypatch):
    public = dataclasses.replace(image, public=True)
    monkeypatch.setattr(catalogue, "bundles", lambda _programs, **_: (Bundle("own", (public,)),))
    ensure(registry_reachable=True)
    assert buildah.built == ["example/one:1"]


def test_what_a_registry_has_is_not_built(ensure, buildah, image, monkeypatch):
    monkeypatch.setattr(buildah, "pull", lambda _name: True)
    public = dataclasses.replace(image, public=True)
    monkeypatch.setattr(catalogue, "bundles", lambda _programs, **_: (Bundle("own", (public,)),))
    ensure(registry_reachable=True)
    assert buildah.built == []


def test_a_tar_names_its_images_and_has_each_layer_once(buildah, image, tmp_path):
    images = (image, dataclasses.replace(image, name="example/two:1"))
    bundle.write(buildah, images, tmp_path / "both.tar")
    with tarfile.open(tmp_path / "both.tar") as tar:
        names = tar.getnames()
        index = json.load(tar.extractfile("index.json"))
        blobs = {name.rpartition("/")[2]: tar.extractfile(name).read() for name in names if name.startswith("blobs/")}
    assert len(names) == len(set(names))
    assert sorted(content for content in blobs.values() if not content.startswith(b"{")) == [
        b"example/one:1",
        b"example/two:1",
        b"shared",
    ]
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())
    named = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert named == ["example/one:1", "example/two:1"]
    assert all(entry["digest"].removeprefix("sha256:") in blobs for entry in index["manifests"])


def test_a_failed_build_shows_its_end_and_where_the_rest_is(tmp_path, monkeypatch):
    program = tmp_path / "bin/buildah"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no such package\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "bin/unshare").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')  # it takes root
    (tmp_path / "bin/unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    buildah = Buildah(tmp_path / "store", tmp_path / "build.log")
    with pytest.raises(PlaygroundError, match=r"build\.log[^$]*no such package"):
        buildah.bud(["--tag", "x"], tmp_path)


def test_packages_are_downloaded_once_per_content_and_older_ones_go(tmp_path, monkeypatch):
    requirements = tmp_path / "requirements-agent.txt"
    downloads = []

    def download(_requirements, into):
        downloads.append(into)
        (into / "one.whl").write_bytes(b"")

    monkeypatch.setattr(wheels, "_download", download)
    requirements.write_text("one==1")
    first = wheels.ensure(tmp_path / "cache", requirements)
    assert wheels.ensure(tmp_path / "cache", requirements) == first
    requirements.write_text("one==2")
    second = wheels.ensure(tmp_path / "cache", requirements)
    assert len(downloads) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [second.name]
