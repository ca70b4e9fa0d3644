"""The files on the host: put there, kept, and taken away."""

import json

import pytest

from seta_agent.cni import install
from seta_agent.cni.install import Installer
from seta_agent.kube import KubeClient
from seta_agent.kube_access import Access
from seta_agent.paths import Paths

DAEMONSET = "/apis/apps/v1/namespaces/kube-system/daemonsets/seta"


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


@pytest.fixture
async def client(api):
    made = KubeClient(Access(api.url, None))
    yield made
    await made.close()


async def asked(client, tmp_path) -> bool:
    return await install.is_uninstalled(client, tmp_path / "no-account")


async def test_a_running_daemonset_means_an_upgrade(api, client, tmp_path):
    api.put(DAEMONSET, {})
    assert not await asked(client, tmp_path)


async def test_a_daemonset_that_is_being_deleted_means_uninstalled(api, client, tmp_path):
    api.put(DAEMONSET, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert await asked(client, tmp_path)


@pytest.mark.parametrize(("status", "uninstalled"), [(0, True), (401, True), (403, True), (500, False)])
async def test_what_the_api_server_says_decides(api, client, tmp_path, status, uninstalled):
    api.status = status
    assert await asked(client, tmp_path) is uninstalled


async def test_without_an_api_server_nothing_is_taken_away(tmp_path):
    client = KubeClient(Access("http://127.0.0.1:1", None))
    assert not await asked(client, tmp_path)
    await client.close()
