"""`playground down` leaves nothing: after a whole cluster, and after an `up` that was killed at any of its steps."""

import os
import pathlib
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from seta_playground import paths
from seta_playground import processes as records
from tests.e2e.conftest import PLAYGROUND, playground
from tests.e2e.steps import eventually

NAME = "e2e-down"
UP = ["up", "--name", NAME, "--nodes", "2", "--network", "plain"]
KINDS = ("net", "mnt", "pid", "uts", "cgroup")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a cluster needs root")


@pytest.fixture(autouse=True)
def taken_down():
    playground("down", "--name", NAME)
    yield
    playground("down", "--name", NAME)


def namespaces_of(pid: str) -> set[str]:
    """Identities of a process's namespaces; none where it ended meanwhile."""
    found = set()
    for kind in KINDS:
        try:
            found.add(str(pathlib.Path(f"/proc/{pid}/ns/{kind}").readlink()))
        except OSError:
            continue
    return found


@dataclass(frozen=True)
class Footprint:
    """Where the cluster's processes were. The kernel gives the identity of a namespace that is gone to the next one,
    so a process that is found there counts only when it is as old as the footprint."""

    namespaces: frozenset[str]
    ticks: float  # when it was taken, in clock ticks after boot


def footprint() -> Footprint:
    found: set[str] = set()
    for file in pathlib.Path("/sys/fs/cgroup").glob(f"**/playground-{NAME}/**/cgroup.procs"):
        for pid in file.read_text().split():
            found |= namespaces_of(pid)
    now = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
    return Footprint(frozenset(found - namespaces_of("self")), now)


def is_left(pid: str, cluster: Footprint) -> bool:
    """A zombie is not: it waits for the machine's first process only."""
    record = records.record(int(pid))
    return bool(record and record.started <= cluster.ticks and namespaces_of(pid) & cluster.namespaces)


def left(cluster: Footprint) -> list[str]:
    """Everything on this machine that is still the cluster's."""
    cgroup_directories = pathlib.Path("/sys/fs/cgroup").glob(f"**/playground-{NAME}")
    files = [paths.run_dir(NAME), paths.data_dir(NAME), *pathlib.Path("/run/netns").glob(f"{NAME}.*")]
    mounts = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if NAME in line]
    processes = [
        f"process {directory.name}: {(directory / 'cmdline').read_bytes()!r}"
        for directory in pathlib.Path("/proc").glob("[0-9]*")
        if is_left(directory.name, cluster)
    ]
    return [*map(str, cgroup_directories), *(str(file) for file in files if file.exists()), *mounts, *processes]


def killed_up(step: str) -> None:
    """Starts `up`, and kills it with SIGKILL when it says that a step is done."""
    with subprocess.Popen([PLAYGROUND, *UP], stderr=subprocess.PIPE, text=True) as up:
        for line in up.stderr:
            if step in line:
                break
        up.send_signal(signal.SIGKILL)
    assert up.returncode == -signal.SIGKILL


def test_down_leaves_nothing_of_a_cluster():
    playground(*UP)
    cluster = footprint()
    assert len(cluster.namespaces) > 2 * len(KINDS) - 1
    playground("down", "--name", NAME)
    assert left(cluster) == []


@pytest.mark.parametrize("step", ["] LAN", "certificates", "] nodes:", "API server", "CoreDNS manifest"])
def test_down_leaves_nothing_of_an_up_that_was_killed(step: str):
    killed_up(step)
    cluster = footprint()
    assert left(cluster)
    playground("down", "--name", NAME)
    assert left(cluster) == []


def test_up_works_over_what_a_killed_up_left():
    killed_up("API server")
    before = footprint()
    playground(*UP)
    assert "Ready" in playground("status", "--name", NAME)
    assert not [pid.name for pid in pathlib.Path("/proc").glob("[0-9]*") if is_left(pid.name, before)]


def test_up_of_a_cluster_that_is_up_changes_nothing_and_other_settings_are_refused():
    playground(*UP)
    before = footprint()
    playground(*UP)
    assert footprint().namespaces == before.namespaces
    refused = subprocess.run([PLAYGROUND, *UP, "--nodes", "3"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "playground down" in refused.stderr


def test_down_ends_what_was_started_in_the_world():
    playground(*UP)
    world = f"net:[{pathlib.Path(f'/run/netns/{NAME}.world').stat().st_ino}]"
    with subprocess.Popen([PLAYGROUND, "exec", "--name", NAME, "world", "--", "sleep", "30"]) as sleeper:
        eventually(lambda: world in namespaces_of(str(sleeper.pid)), "the command runs there")
        playground("down", "--name", NAME)
        assert sleeper.wait(10) == -signal.SIGKILL
