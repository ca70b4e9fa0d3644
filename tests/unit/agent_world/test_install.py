"""The files on the host: put there, kept, and taken away."""

import json

import pytest

from seta_agent.cni.install import Installer
from seta_agent.paths import Paths


@pytest.fixture
def paths(tmp_path) -> Paths:
    plugin = tmp_path / "seta-cni"
    plugin.write_bytes(b"\x7fELF plugin")
    for name in ("bin", "net.d"):
        (tmp_path / name).mkdir()
    run = tmp_path / "run"
    return Paths(run, tmp_path / "bin", tmp_path / "net.d", plugin, run / "cni.sock")


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_plugin_and_configuration_are_put_there(paths):
    Installer(paths, exclusive=True).install()
    assert (paths.cni_bin / "seta-cni").read_bytes() == b"\x7fELF plugin"
    assert (paths.cni_bin / "seta-cni").stat().st_mode & 0o777 == 0o755
    written = json.loads((paths.cni_conf / "05-seta.conflist").read_text())
    assert (written["cniVersion"], written["cniVersions"]) == ("1.0.0", ["1.0.0", "1.1.0"])
    assert written["plugins"] == [{"type": "seta-cni", "socket": str(paths.cni_socket)}]


def test_others_are_set_aside_and_get_their_names_back(paths):
    for name in ("10-bridge.conf", "87-podman.conflist", "README"):
        (paths.cni_conf / name).write_text("{}")
    installer = Installer(paths, exclusive=True)
    installer.install()
    assert names(paths.cni_conf) == [
        "05-seta.conflist",
        "10-bridge.conf.seta_bak",
        "87-podman.conflist.seta_bak",
        "README",
    ]
    installer.uninstall()
    assert names(paths.cni_conf) == ["10-bridge.conf", "87-podman.conflist", "README"]


def test_others_stay_where_we_are_not_exclusive(paths):
    (paths.cni_conf / "10-bridge.conf").write_text("{}")
    Installer(paths, exclusive=False).install()
    assert names(paths.cni_conf) == ["05-seta.conflist", "10-bridge.conf"]


def test_what_somebody_changed_is_corrected_and_what_is_right_is_left_alone(paths):
    installer = Installer(paths, exclusive=True)
    installer.install()
    before = (paths.cni_bin / "seta-cni").stat().st_ino
    (paths.cni_conf / "05-seta.conflist").write_text("broken")
    installer.install()
    assert json.loads((paths.cni_conf / "05-seta.conflist").read_text())["name"] == "seta"
    assert (paths.cni_bin / "seta-cni").stat().st_ino == before


def test_a_write_leaves_no_half_files(paths):
    Installer(paths, exclusive=True).install()
    assert names(paths.cni_bin) == ["seta-cni"]
