"""The same commands from outside of the nodes: `kubectl exec` of `seta` in every agent's pod, side by side.

Used where there is no local socket, or `--node` is given. Each pod prints JSON; merging and formatting is done here.
"""

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seta_agent.cli import local
from seta_agent.cli.errors import CliError

NAMESPACE, CONTAINER, SELECTOR = "kube-system", "seta-agent", "k8s-app=seta"


class Agent(NamedTuple):
    node: str
    pod: str


def agents(node: str = "") -> list[Agent]:
    """Running agents by node name. Raises CliError where there is none, or not the one named."""
    listed = _kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTOR, "-o", "json")
    found = sorted(
        Agent(item["spec"]["nodeName"], item["metadata"]["name"])
        for item in json.loads(listed)["items"]
        if item["status"].get("phase") == "Running" and not item["metadata"].get("deletionTimestamp")
    )
    if not found:
        raise CliError(f"no agent is running in {NAMESPACE}; see `kubectl get pods -n {NAMESPACE} -l {SELECTOR}`")
    chosen = [agent for agent in found if node in ("", agent.node)]
    if not chosen:
        raise CliError(f"no agent runs on node {node}; there are {', '.join(agent.node for agent in found)}")
    return chosen


def objects(*arguments: str) -> list[Any]:
    """Objects of the API server, as `kubectl get` is asked for them. Raises CliError."""
    if shutil.which("kubectl") is None:
        raise CliError("there is no kubectl, and the API server is asked by it")
    listed = json.loads(_kubectl("get", *arguments, "-o", "json"))
    return list(listed["items"])


def ask(chosen: Sequence[Agent], words: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Node → what `seta <words> -o json` printed there, and node → what went wrong where it did."""
    answers: dict[str, Any] = {}  # node -> JSON
    faults: dict[str, str] = {}  # node -> sentence
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        waiting = {agent.node: pool.submit(_ask, agent, words) for agent in chosen}
    for node, future in waiting.items():
        try:
            answers[node] = future.result()
        except (CliError, ValueError) as error:
            faults[node] = str(error)
    return answers, faults


def ask_any(chosen: Sequence[Agent], words: Sequence[str]) -> Any:
    """What one of them answers. Raises CliError: what the last said that was asked."""
    for agent in chosen[:-1]:
        with contextlib.suppress(CliError, ValueError):
            return _ask(agent, words)
    try:
        return _ask(chosen[-1], words)
    except ValueError as error:
        raise CliError(f"{chosen[-1].node}: the answer cannot be read: {error}") from error


def _ask(agent: Agent, words: Sequence[str]) -> Any:
    """An answer counts whatever the exit code: that may be part of it. Raises CliError, ValueError."""
    return json.loads(_kubectl(*_exec(agent), "seta", *words, "-o", "json", answer_counts=True))


def follow(chosen: Sequence[Agent], words: Sequence[str], show: Callable[[str, str], None]) -> None:
    """Prints what a command that does not end prints on every node, `show(node, line)` at a time, until interrupted.

    Our stdin's end ends the remote commands: kubectl passes no signal on.
    """
    running = [
        subprocess.Popen(
            ["kubectl", *_exec(agent, interactive=True), "seta", *words, "--until-stdin-ends"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for agent in chosen
    ]
    lock = threading.Lock()
    readers = [
        threading.Thread(target=_relay, args=(agent.node, process, show, lock), daemon=True)
        for agent, process in zip(chosen, running, strict=True)
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _relay(node: str, process: "subprocess.Popen[str]", show: Callable[[str, str], None], lock: threading.Lock) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        with lock:
            try:
                show(node, line.rstrip("\n"))
            except BrokenPipeError:  # `| head` has what it wanted
                os.kill(os.getpid(), signal.SIGTERM)
                return


def _exec(agent: Agent, *, interactive: bool = False) -> list[str]:
    flags = ["-i"] if interactive else []
    return ["exec", *flags, "-n", NAMESPACE, agent.pod, "-c", CONTAINER, "--"]


def _kubectl(*arguments: str, answer_counts: bool = False) -> str:
    try:
        done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CliError(
            f"no agent listens at {local.socket_path()}, and there is no kubectl to ask another; is it running?"
        ) from error
    if done.returncode and not (answer_counts and done.stdout):
        said = [line for line in done.stderr.strip().splitlines() if not line.startswith("command terminated")]
        raise CliError(said[-1].removeprefix("seta: ") if said else f"kubectl exited with code {done.returncode}")
    return done.stdout
