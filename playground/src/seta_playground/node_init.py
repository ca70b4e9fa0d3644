"""The first process of a node: makes the namespaces, then keeps the node's services running and reaps orphans.

Started by node.py as `python -I -m seta_playground.node_init SPEC`, which returns when the node stands. When
this process is killed the kernel kills everything else in the node, and its mounts go with its namespaces.
"""

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from seta_playground import cgroups, namespaces, node_root, node_spec, processes

WAIT_INTERVAL = 0.1  # seconds between two looks whether what a service waits for is there
FIRST_RESTART = 0.5  # seconds; doubles with each restart up to the last
LAST_RESTART = 10.0
PROBE_TIMEOUT = 1.0
CA = "/etc/kubernetes/pki/ca.crt"
CALM = 60.0  # a service that ran this long is restarted as if it had never failed


@dataclass
class Running:
    """A service and what is known of it. Owned by the supervisor."""

    service: node_spec.Service
    pid: int = 0  # 0: not running
    due: float = 0.0  # monotonic time from which it may start
    began: float = 0.0
    pause: float = FIRST_RESTART


def main() -> None:
    spec = node_spec.read(Path(sys.argv[1]))
    cgroups.join(spec.cgroup)
    namespaces.enter_network(spec.netns)
    namespaces.unshare(
        namespaces.CLONE_NEWCGROUP | namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWPID
    )
    cgroups.join_leaf(spec.cgroup)
    cgroups.delegate(spec.cgroup)
    recorded, go = os.pipe()  # the child waits: once it changes the root, the parent has it too
    stands, standing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(stands)
        os.read(recorded, 1)
        _become_node(spec, standing)
    os.close(standing)
    Path(spec.record).write_text(processes.text(processes.record(child)))
    os.write(go, b"!")
    sys.exit(0 if os.read(stands, 1) else 1)


def _become_node(spec: node_spec.NodeSpec, standing: int) -> None:
    os.setsid()
    logs = os.open(spec.logs, os.O_RDONLY | os.O_DIRECTORY)  # stays reachable when the root has changed
    namespaces.set_hostname(spec.name)
    node_root.enter(spec)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(standing, b"!")
    os.close(standing)
    Supervisor(spec, logs).run()


class Supervisor:
    def __init__(self, spec: node_spec.NodeSpec, logs: int) -> None:
        self._node = spec.name
        self._logs = logs
        self._services = [Running(service) for service in spec.services]

    def run(self) -> None:
        """Never returns."""
        while True:
            waiting = [entry for entry in self._services if entry.pid == 0 and not self._start(entry)]
            signal.sigtimedwait({signal.SIGCHLD}, WAIT_INTERVAL if waiting else 3600)
            self._reap()

    def _start(self, entry: Running) -> bool:
        now = time.monotonic()
        if now < entry.due or not reachable(entry.service.after):
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = os.open(f"{entry.service.name}@{self._node}.log", flags, 0o600, dir_fd=self._logs)
        entry.pid = _spawn(entry.service.argv, log)
        entry.began = now
        os.close(log)
        return True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for entry in self._services:
                if entry.pid == pid:
                    self._ended(entry, status)

    def _ended(self, entry: Running, status: int) -> None:
        now = time.monotonic()
        if now - entry.began > CALM:
            entry.pause = FIRST_RESTART
        code = os.waitstatus_to_exitcode(status)
        print(f"{entry.service.name} ended with {code}; again in {entry.pause} s", flush=True)
        entry.pid, entry.due = 0, now + entry.pause
        entry.pause = min(2 * entry.pause, LAST_RESTART)


def _spawn(argv: list[str], log: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    return os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=[])


def reachable(address: str) -> bool:
    """Whether what a service waits for is there; "" always is."""
    if not address:
        return True
    if address.startswith("https://"):
        return _answers(address)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_TIMEOUT).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    """Only the control plane's node asks this, so only there are these modules in memory."""
    import ssl  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    try:
        tls = ssl.create_default_context(cafile=CA)
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT, context=tls):  # noqa: S310 - our own https URL
            return True
    except OSError:  # refused, reset, timed out, or an answer that says "not yet"
        return False


if __name__ == "__main__":
    main()
