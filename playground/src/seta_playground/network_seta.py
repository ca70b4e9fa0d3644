"""`--network seta`: installs the chart as anybody would on a cluster without kube-proxy. Called by network.py."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from seta_playground import paths, plan
from seta_playground.errors import PlaygroundError

CHART = paths.CHECKOUT / "deploy" / "chart"
NAMESPACE = "kube-system"
VALUES = {  # what the chart must be told wherever there is no kube-proxy yet
    "k8sServiceHost": plan.CONTROL_PLANE_ADDRESS,
    "k8sServicePort": str(plan.API_PORT),
}


def check(helm: Path, values: Sequence[str]) -> None:
    """Render the chart without a cluster: a mistyped value is told before anything starts."""
    _run([helm, "template", *_release(values)])


def install(helm: Path, kubeconfig: Path, values: Sequence[str]) -> None:
    """Install the chart; does not wait for its pods."""
    _run([helm, "install", "--kubeconfig", kubeconfig, *_release(values)])


def _release(values: Sequence[str]) -> list[str | Path]:
    told = [*(f"{name}={value}" for name, value in VALUES.items()), *values]
    return ["seta", CHART, "--namespace", NAMESPACE, *(part for value in told for part in ("--set", value))]


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"helm {command[1]} failed: {done.stderr.strip()}")
