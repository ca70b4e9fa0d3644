"""What is remembered between commands."""

import os
import pathlib
import subprocess

import pytest

from seta_playground import locks, node_spec, processes, state
from seta_playground.errors import PlaygroundError


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> state.Cluster:
    monkeypatch.setattr(state.paths, "RUN", tmp_path)
    settings = state.Settings("plain", "nftables", 2, ())
    return state.Cluster("x", settings, state.STARTING, processes.Record(1, 2), ("/a", "/b"), 6443)


def test_what_is_saved_is_what_is_loaded(cluster: state.Cluster):
    cluster.save()
    assert state.load("x") == cluster
    assert state.names() == ["x"]


def test_a_change_is_saved(cluster: state.Cluster):
    changed = cluster.but(phase=state.RUNNING)
    assert (cluster.phase, changed.phase) == (state.STARTING, state.RUNNING)
    assert state.load("x") == changed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}'])
def test_a_file_that_a_crash_cut_short_is_as_good_as_none(cluster: state.Cluster, content: str):
    cluster.save()
    (cluster.directory / "cluster.json").write_text(content)
    assert state.load("x") is None


def test_a_running_process_is_alive_and_one_that_ended_is_not():
    with subprocess.Popen(["sleep", "30"]) as child:
        remembered = processes.record(child.pid)
        assert processes.alive(remembered)
        assert processes.rss_kib(child.pid) > 0
        child.kill()
    assert not processes.alive(remembered)
    assert processes.record(child.pid) is None


def test_a_process_id_that_is_used_again_is_another_process():
    own = processes.record(os.getpid())
    assert own is not None
    assert not processes.alive(processes.Record(own.pid, own.started - 1))


def test_a_zombie_does_not_run():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.record(child.pid) is None
    child.wait()


def test_a_record_survives_its_file(tmp_path: pathlib.Path):
    file = tmp_path / "init"
    assert processes.read(file) is None
    file.write_text(processes.text(processes.Record(7, 8)))
    assert processes.read(file) == processes.Record(7, 8)
    file.write_text(processes.text(None))
    assert processes.read(file) is None


def test_a_lock_is_held_by_one(tmp_path: pathlib.Path):
    with locks.held(tmp_path / "lock"), pytest.raises(PlaygroundError, match="at work"), locks.held(tmp_path / "lock"):
        pass
    with locks.held(tmp_path / "lock"):
        pass


def test_a_nodes_spec_reads_back_as_written(tmp_path: pathlib.Path):
    service = node_spec.Service("kubelet", ["kubelet", "--config=x"], after="192.168.10.10:6443")
    fields = {name: name for name in ("name", "netns", "cgroup", "scratch", "logs", "record")}
    spec = node_spec.NodeSpec(**fields, binds=[("/a", "/b")], files={"/c": "d"}, links={"/e": "f"}, services=[service])
    spec.write(tmp_path / "spec.json")
    assert node_spec.read(tmp_path / "spec.json") == spec
