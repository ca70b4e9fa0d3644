"""Renders the chart with the helm that the playground uses; skips where it has not been built yet."""

import pathlib
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from seta_playground import binaries, paths

CHART = pathlib.Path(__file__).parents[3] / "deploy/chart"
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm(tmp_path_factory) -> Callable[..., subprocess.CompletedProcess[str]]:
    built = paths.cache_dir() / "bin" / binaries.key() / "helm"
    program = str(built) if built.exists() else shutil.which("helm")
    if program is None:
        pytest.skip("no helm: `playground install` builds it")
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=env)

    return run


@pytest.fixture(scope="session")
def render(helm) -> Render:
    def documents(*values: str) -> list[dict[str, Any]]:
        """What `helm install --set value...` would send to the API server, but for the CRDs."""
        told = [part for value in values for part in ("--set", value)]
        done = helm("template", "seta", str(CHART), "--namespace", "kube-system", *told)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return documents
