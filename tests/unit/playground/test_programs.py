"""Which programs a cluster is made of, and what they are told."""

import pathlib

import pytest
import yaml

from seta_playground import binaries, cgroups, containerd, controlplane, dns, kubelet, plan, toolchain, versions
from seta_playground.errors import PlaygroundError


def test_versions_come_from_go_mod():
    assert versions.kubernetes().startswith("v1.")
    assert versions.of("k8s.io/api").removeprefix("v0.") == versions.kubernetes().removeprefix("v1.")
    assert versions.coredns_image().endswith(versions.coredns())
    assert versions.least_go() >= (1, 26)


def test_the_key_of_the_build_changes_with_its_flags(monkeypatch: pytest.MonkeyPatch):
    before = binaries.key()
    assert binaries.key() == before
    monkeypatch.setattr(binaries, "FLAGS", ())
    assert binaries.key() != before


def program(directory: pathlib.Path, name: str) -> pathlib.Path:
    file = directory / name
    file.write_text("")
    file.chmod(0o755)
    return file


def test_a_users_programs_are_preferred_and_the_rest_is_built(tmp_path: pathlib.Path):
    kubelet_of_user = program(tmp_path, "kubelet")
    found = binaries.Binaries(pathlib.Path("/built"), binaries._chosen(tmp_path))
    assert found.path("kubelet") == kubelet_of_user
    assert found.path("kubectl") == pathlib.Path("/built/kubectl")
    assert found.directories() == sorted([tmp_path, pathlib.Path("/built")])


def test_nothing_is_built_where_the_user_has_everything(tmp_path: pathlib.Path):
    for name in binaries.NAMES:
        program(tmp_path, name)
    found = binaries.ensure(tmp_path / "cache", progress=None, user_directory=tmp_path)
    assert {found.path(name).parent for name in binaries.NAMES} == {tmp_path}
    assert not (tmp_path / "cache").exists()


def test_a_directory_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", "/nowhere")
    with pytest.raises(PlaygroundError, match="/nowhere"):
        binaries.user_directory(None)


def test_a_machine_without_a_new_enough_go_is_told_which_one_it_needs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(toolchain, "_version", lambda _go: (1, 2, 3))
    with pytest.raises(PlaygroundError, match=r"no Go 1\.26"):
        toolchain.find()


def test_components_wait_for_what_they_need():
    services = {service.name: service for service in controlplane.services(binaries.Binaries(pathlib.Path("/b"), {}))}
    assert services["etcd"].after == ""
    assert services["kube-apiserver"].after == "127.0.0.1:2379"
    assert services["kube-scheduler"].after.startswith("https://192.168.10.10:6443")


def test_no_component_takes_a_client_without_a_certificate():
    services = {service.name: service for service in controlplane.services(binaries.Binaries(pathlib.Path("/b"), {}))}
    assert "--client-cert-auth" in services["etcd"].argv
    assert "--authorization-mode=Node,RBAC" in services["kube-apiserver"].argv
    assert not any("token-auth-file" in argument for argument in services["kube-apiserver"].argv)
    config = yaml.safe_load(kubelet.config(plan.make("seta", 2).nodes[1]))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}


def test_a_kubelet_serves_with_its_own_certificate():
    config = yaml.safe_load(kubelet.config(plan.make("seta", 2).nodes[1]))
    assert config["tlsCertFile"].endswith("kubelet-k8s-w1.crt")


def test_containerd_asks_for_the_pause_image_that_there_is():
    assert f'sandbox_image = "{versions.PAUSE_IMAGE}"' in containerd.config()


def test_a_template_has_another_name_when_an_archive_changes(tmp_path: pathlib.Path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"1")
    before = containerd._key([archive])
    archive.write_bytes(b"12")
    assert containerd._key([archive]) != before


def test_a_nodes_images_are_links_and_its_databases_are_its_own(tmp_path: pathlib.Path):
    template, own = tmp_path / "template", tmp_path / "own"
    for name in ("bolt/meta.db", "snapshots/1/fs/bin/sh", "snapshots/1/fs/cache.db"):
        file = template / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    containerd.copy_template(template, own)
    assert (own / "snapshots/1/fs/bin/sh").samefile(template / "snapshots/1/fs/bin/sh")
    assert (own / "snapshots/1/fs/cache.db").samefile(template / "snapshots/1/fs/cache.db")
    assert not (own / "bolt/meta.db").samefile(template / "bolt/meta.db")
    assert (own / "bolt/meta.db").read_text() == "bolt/meta.db"


def test_the_dns_manifest_is_whole_and_is_where_kubelets_look():
    objects = list(yaml.safe_load_all(dns.manifest()))
    assert "@" not in dns.manifest().replace("@...@", "")
    service = next(item for item in objects if item["kind"] == "Service")
    assert (
        service["spec"]["clusterIP"] == yaml.safe_load(kubelet.config(plan.make("seta", 1).nodes[0]))["clusterDNS"][0]
    )


HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,nosuid,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime,nsdelegate 0 0
"""
UNIFIED = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "options", "leaf"),
    [
        (HYBRID, ["cpu,cpuacct", "none,name=systemd", ""], "/sys/fs/cgroup/unified/g/system/cgroup.procs"),
        (UNIFIED, [""], "/sys/fs/cgroup/g/system/cgroup.procs"),
    ],
)
def test_hierarchies_of_both_versions_are_found(monkeypatch, tmp_path, mounts: str, options: list[str], leaf: str):
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    found = cgroups.hierarchies()
    assert [hierarchy.options for hierarchy in found] == options
    assert [hierarchy.version2 for hierarchy in found] == [option == "" for option in options]
    assert str(cgroups.leaves("g")[-1]) == leaf
