"""Starts that cannot go on: one JSON line with one sentence, and exit code 1."""

import json
import os
import subprocess
import sys

import pytest

HERE = {"K8S_NODE_NAME": "k8s-w1", "KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": ""}


def start(tmp_path, **files: str) -> dict:
    for name, text in files.items():
        (tmp_path / name.replace("_", "-")).write_text(text)
    command = [sys.executable, "-m", "seta_agent.main", "--config-dir", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, **HERE}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"routing_mode": "pigeon"}, "routing-mode is 'pigeon'"),
        ({"labels": "k8s:["}, 'label pattern "k8s:[" is no regular expression'),
        ({}, "no way to the API server"),
    ],
)
def test_a_start_that_cannot_go_on_is_one_sentence(tmp_path, files, said):
    line = start(tmp_path, **files)
    assert (line["event"], line["level"]) == ("agent_failed", "error")
    assert said in line["error"]
    assert "exception" not in line
