"""The release of the chart on a running cluster: other values, as an administrator sets them, and the first again."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from tests.e2e.conftest import Cluster

CHART = str(pathlib.Path(__file__).parents[2] / "deploy/chart")
HELM = ("helm", "-n", "kube-system")


def upgrade(cluster: Cluster, **values: Any) -> None:
    """Returns when every agent and operator has them."""
    told = [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
    cluster.run(*HELM, "upgrade", "seta", CHART, "--reuse-values", *told)
    _rolled_out(cluster)


@contextlib.contextmanager
def restored(cluster: Cluster) -> Iterator[None]:
    """However it ends, the values are what they were."""
    first = json.loads(cluster.run(*HELM, "history", "seta", "-o", "json"))[-1]["revision"]
    try:
        yield
    finally:
        cluster.run(*HELM, "rollback", "seta", str(first))
        _rolled_out(cluster)


def _rolled_out(cluster: Cluster) -> None:
    cluster.kubectl("-n", "kube-system", "rollout", "status", "deployment/seta-operator", "daemonset/seta")
