"""The command as people run it: a local agent, or all agents through a kubectl that is a script."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from seta_agent.cli import merge, status

IDENTITIES = [{"id": 2, "labels": ["reserved:world"]}]
STATUS = {
    "node": "k8s-w1",
    "ready": True,
    "sentence": "",
    "ready_after_seconds": 0.8,
    "version": "0.1.0",
    "rss_bytes": 80 << 20,
    "routing": "tunnel (vxlan)",
    "masquerade": True,
    "kube_proxy_replacement": True,
    "policy_enforcement": "default",
    "pod_cidrs": ["10.0.1.0/24"],
    "capacity": 253,
    "addresses": [{"ip": "10.0.1.5", "owner": "default/xwing"}],
    "counts": {"endpoints": 1, "policies": 2, "services": 3, "identities": 4},
    "monitor_listeners": 0,
    "watches": [{"name": "pods", "synced": True, "objects": 1, "malformed": 0, "error": ""}],
    "l2_announcements": {"enabled": False},
    "probes": {"health_check_node_ports": 2, "errors": {}},
    "drops": {"Policy denied": 12, "No mapping for NAT masquerade": 3},
    "programmer": {
        "synced": True,
        "native_devices": ["ens5"],
        "acceleration": {},
        "services_left_out": 0,
        "route_errors": [],
    },
}


class Agent:
    """Answers every request on a unix socket with the same bytes."""

    def __init__(self, directory, head: str, body: str) -> None:
        self.asked: list[str] = []
        self.methods: list[str] = []
        self._answer = f"HTTP/1.0 {head}\r\nContent-Type: application/json\r\n\r\n{body}".encode()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(directory / "seta.sock"))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                method, path, *_ = connection.recv(4096).decode().split()
                self.methods.append(method)
                self.asked.append(path)
                connection.sendall(self._answer)


@pytest.fixture
def agent(tmp_path):
    made = []

    def start(body, head: str = "200 OK") -> Agent:
        made.append(Agent(tmp_path, head, body if isinstance(body, str) else json.dumps(body)))
        return made[-1]

    yield start
    for one in made:
        one.close()


def seta(tmp_path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SETA_RUN_DIR": str(tmp_path),
        "PATH": f"{path}:{os.environ['PATH']}" if path else "/none",
    }
    command = [sys.executable, "-m", "seta_agent.cli.main", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_on_a_node_the_local_agent_is_asked(tmp_path, agent):
    local = agent(IDENTITIES)
    shown = seta(tmp_path, "identity", "list")
    assert shown.stdout == "ID   LABELS (source:key[=value])\n2    reserved:world\n"
    assert local.asked == ["/v1/identities"]


@pytest.mark.parametrize(("form", "begins"), [("json", "[\n  {"), ("yaml", "- id: 2\n")])
def test_the_data_is_there_as_json_and_yaml(tmp_path, agent, form, begins):
    agent(IDENTITIES)
    assert seta(tmp_path, "identity", "list", "-o", form).stdout.startswith(begins)


def test_the_agents_sentence_is_the_error(tmp_path, agent):
    agent({"error": "there is no endpoint 9 on this node"}, "404 Not Found")
    shown = seta(tmp_path, "endpoint", "get", "9")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "seta: there is no endpoint 9 on this node\n"


def test_an_agent_that_hangs_up_is_one_sentence(tmp_path, agent):
    agent("", "")
    shown = seta(tmp_path, "identity", "list")
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)


def test_a_socket_that_nobody_listens_to_is_one_sentence(tmp_path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "seta.sock"))
    dead.close()
    shown = seta(tmp_path, "identity", "list")
    assert (shown.returncode, "is it running?" in shown.stderr) == (1, True)


def test_away_from_nodes_and_without_kubectl_it_says_so(tmp_path):
    shown = seta(tmp_path, "identity", "list")
    says = f"no agent listens at {tmp_path}/seta.sock, and there is no kubectl to ask another; is it running?"
    assert shown.stderr == f"seta: {says}\n"


EXPLAIN = ("policy", "explain", "--from", "shop/web", "--to", "10.0.2.5", "--port")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["endpoint"],
        ["endpoint", "explode"],
        ["endpoint", "get", "x"],
        ["-o", "xml"],
        ["bpf", "policy", "get"],
        ["bpf", "policy", "get", "7", "--all"],
        ["policy", "explain", "--from", "a/b", "--to", "c/d"],
        [*EXPLAIN, "80"],
        [*EXPLAIN, "80/FTP"],
    ],
)
def test_what_is_no_command_is_a_usage_error(tmp_path, words):
    assert seta(tmp_path, *words).returncode == 2


@pytest.mark.parametrize(("verdict", "code"), [("allowed", 0), ("denied", 1)])
def test_the_exit_code_of_explain_is_the_verdict(tmp_path, agent, verdict, code):
    local = agent({"verdict": verdict})
    shown = seta(tmp_path, *EXPLAIN, "80/TCP", "-o", "json")
    assert (shown.returncode, json.loads(shown.stdout)) == (code, {"verdict": verdict})
    assert local.asked == ["/v1/policy/explain?from=shop%2Fweb&to=10.0.2.5&port=80%2FTCP"]


def test_an_explanation_of_nobody_is_a_usage_error(tmp_path, agent):
    agent({"error": "there is no pod shop/web"}, "400 Bad Request")
    shown = seta(tmp_path, *EXPLAIN, "80/TCP")
    assert (shown.returncode, shown.stderr) == (2, "seta: there is no pod shop/web\n")


def test_an_option_is_changed_on_the_node_itself(tmp_path, agent):
    local = agent({"PolicyAuditMode": "Enabled"})
    assert seta(tmp_path, "endpoint", "config", "7", "PolicyAuditMode=Enabled").stdout == "PolicyAuditMode   Enabled\n"
    assert local.asked == ["/v1/endpoints/7/config?PolicyAuditMode=Enabled"]
    assert local.methods == ["PATCH"]


def test_monitor_prints_lines_as_they_come_and_counts_losses(tmp_path, agent):
    lines = [{"type": "drop", "summary": "xx drop (Policy denied) ..."}, {"lost": 3, "summary": "3 events were lost"}]
    local = agent("\n".join(map(json.dumps, lines)) + "\n")
    shown = seta(tmp_path, "monitor", "--type", "drop")
    assert shown.stdout == "xx drop (Policy denied) ...\n3 events were lost\n"
    assert local.asked == ["/v1/monitor?type=drop"]
    assert seta(tmp_path, "monitor", "-o", "json").stdout.splitlines() == ['{"type": "drop"}', '{"lost": 3}']


KUBECTL = """#!/bin/sh
case "$*" in
  "get pods"*) cat <<'EOF'
{"items": [
  {"metadata": {"name": "pod-a"}, "spec": {"nodeName": "k8s-w1"}, "status": {"phase": "Running"}},
  {"metadata": {"name": "pod-b"}, "spec": {"nodeName": "k8s-w2"}, "status": {"phase": "Running"}},
  {"metadata": {"name": "pod-c"}, "spec": {"nodeName": "k8s-w3"}, "status": {"phase": "Pending"}}]}
EOF
  ;;
  *pod-a*monitor*) echo "xx drop (Policy denied) a" ;;
  *pod-b*monitor*) echo "xx drop (Policy denied) b" ;;
  *pod-a*"endpoint list -o json") echo '%(endpoints)s' ;;
  *pod-b*"endpoint list -o json") echo '%(endpoints)s' ;;
  *pod-a*"identity list -o json") echo '[{"id": 300, "labels": ["k8s:a"]}, {"id": 2, "labels": ["reserved:world"]}]' ;;
  *pod-b*"identity list -o json") echo '[{"id": 2, "labels": ["reserved:world"]}]' ;;
  *pod-a*"map list -o json") echo '[]' ;;
  *pod-b*"policy explain"*"10.0.2.5"*"-o json") echo '{"verdict": "denied"}'; exit 1 ;;
  *"policy explain"*"10.0.2.6"*) echo "seta: there is no pod" >&2; exit 2 ;;
  *) echo "seta: the agent does not answer" >&2; echo "command terminated with exit code 1" >&2; exit 1 ;;
esac
"""
ENDPOINT = {
    "id": 7,
    "policy": {"ingress": "Enabled", "egress": "Disabled"},
    "identity": {"id": 300, "labels": ["k8s:a"]},
    "ipv6": "",
    "ipv4": "10.0.1.5",
    "state": "ready",
    "services": {"translated": "Socket", "reason": ""},
}


@pytest.fixture
def outside(tmp_path):
    """A machine with a kubectl and no agent."""
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(KUBECTL % {"endpoints": json.dumps([ENDPOINT])})
    kubectl.chmod(0o755)
    return lambda *words: seta(tmp_path, *words, path=str(kubectl.parent))


def test_from_outside_the_nodes_own_rows_carry_its_name(outside):
    lines = outside("endpoint", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NODE", "ENFORCEMENT", "k8s-w1", "k8s-w2"]
    assert lines[2].split()[1:4] == ["7", "Enabled", "Disabled"]


def test_from_outside_what_is_the_clusters_is_shown_once(outside):
    assert outside("identity", "list").stdout.splitlines()[1:] == ["2     reserved:world", "300   k8s:a"]


def test_headers_can_be_left_out(outside, tmp_path, agent):
    assert [line.split()[0] for line in outside("endpoint", "list", "--no-headers").stdout.splitlines()] == [
        "k8s-w1",
        "k8s-w2",
    ]
    agent(IDENTITIES)
    assert seta(tmp_path, "identity", "list", "--no-headers").stdout == "2    reserved:world\n"


def test_one_node_looks_as_on_that_node(outside):
    assert outside("endpoint", "list", "--node", "k8s-w2").stdout.startswith("ENDPOINT   POLICY")


def test_json_from_outside_is_by_node(outside):
    assert json.loads(outside("endpoint", "list", "-o", "json").stdout) == {"k8s-w1": [ENDPOINT], "k8s-w2": [ENDPOINT]}


def test_an_unknown_node_is_told_which_there_are(outside):
    assert outside("endpoint", "list", "--node", "x").stderr == (
        "seta: no agent runs on node x; there are k8s-w1, k8s-w2\n"
    )


def test_a_node_that_does_not_answer_does_not_hide_the_others(outside):
    shown = outside("map", "list")
    assert shown.returncode == 1
    assert shown.stderr == "seta: k8s-w2: the agent does not answer\n"
    assert shown.stdout.startswith("NODE   Name")


def test_from_outside_any_agent_explains(outside):
    shown = outside(*EXPLAIN, "80/TCP", "-o", "json")
    assert (shown.returncode, json.loads(shown.stdout), shown.stderr) == (1, {"verdict": "denied"}, "")


def test_from_outside_an_explanation_of_nobody_is_a_usage_error(outside):
    shown = outside("policy", "explain", "--from", "a/b", "--to", "10.0.2.6", "--port", "80/TCP")
    assert (shown.returncode, shown.stderr) == (2, "seta: there is no pod\n")


def test_an_endpoints_options_want_a_node(outside):
    shown = outside("endpoint", "config", "7")
    assert (shown.returncode, shown.stderr) == (1, "seta: that is one node's own: name the node with --node\n")


def test_monitor_from_outside_says_which_node(outside):
    assert sorted(outside("monitor").stdout.splitlines()) == [
        "k8s-w1: xx drop (Policy denied) a",
        "k8s-w2: xx drop (Policy denied) b",
    ]


@pytest.mark.parametrize(
    "words", ["endpoint list --node x -o json", "endpoint list --node=x -ojson", "endpoint list --output yaml"]
)
def test_what_is_ours_to_do_is_not_passed_on(words):
    assert merge.bare_words(words.split()) == ["endpoint", "list"]


def test_status_is_one_line_per_subject():
    lines = status.status(STATUS, verbose=False).splitlines()
    assert "IPAM:                   IPv4: 1/253 allocated from 10.0.1.0/24" in lines
    assert "Kubernetes:             Ok   1 watches" in lines
    assert "10.0.1.5   default/xwing" in status.status(STATUS, verbose=True).splitlines()


def test_verbose_status_says_how_many_packets_were_dropped_and_why():
    assert "Drops:                  12 Policy denied, 3 No mapping for NAT masquerade" in status.status(
        STATUS, verbose=True
    )
    assert "Drops:                  none" in status.status({**STATUS, "drops": {}}, verbose=True)
    assert "Drops:" not in status.status(STATUS, verbose=False)


def test_status_says_which_port_for_load_balancers_is_not_open():
    errors = {"shop/web": "port 30099 cannot be opened: Address already in use", "shop/api": "port 30098 ..."}
    text = status.status({**STATUS, "probes": {"health_check_node_ports": 1, "errors": errors}}, verbose=False)
    assert "1 node ports; shop/web: port 30099 cannot be opened: Address already in use, and 1 more" in text


def test_status_says_what_is_announced_and_how_long_that_holds():
    announced = {"enabled": True, "holding": True, "seconds_left": 4.21, "services": ["shop/web"], "answers": 1}
    announced |= {"interfaces": {"ens5": True, "ens6": False}, "error": ""}
    text = status.status({**STATUS, "l2_announcements": announced}, verbose=False)
    assert "L2 announcements:       1 services on ens5, 4.2 s left" in text.splitlines()


def test_status_says_why_nothing_is_announced():
    silent = {"enabled": True, "holding": False, "seconds_left": 0.0, "services": [], "answers": 0, "interfaces": {}}
    shown = [
        status.status({**STATUS, "l2_announcements": row}, verbose=False)
        for row in (silent | {"error": "the heartbeat cannot be renewed: refused"}, silent | {"error": ""})
    ]
    assert "L2 announcements:       Silent: the heartbeat cannot be renewed: refused" in shown[0].splitlines()
    assert "L2 announcements:       Silent: the lease has not been renewed yet" in shown[1].splitlines()
    assert "L2 announcements:       Disabled" in status.status(STATUS, verbose=False).splitlines()


def test_status_says_how_many_services_have_no_room():
    text = status.status({**STATUS, "programmer": {**STATUS["programmer"], "services_left_out": 7}}, verbose=False)
    assert ", 7 left out for want of room: raise bpf.lbMapMax" in text


def test_status_says_which_routes_cannot_be_set():
    errors = ["the route to 10.0.2.0/24 cannot be set", "the route to 10.0.3.0/24 cannot be set"]
    data = {**STATUS, "programmer": {**STATUS["programmer"], "route_errors": errors}}
    assert f"{STATUS['routing']}; {errors[0]}, and 1 more" in status.status(data, verbose=False)


def test_status_says_which_devices_run_xdp_and_why_others_do_not():
    devices = {"ens5": "native", "ens6": "its driver has no XDP"}
    text = status.status({**STATUS, "programmer": {**STATUS["programmer"], "acceleration": devices}}, verbose=False)
    assert "XDP acceleration:       ens5: native; ens6: its driver has no XDP" in text.splitlines()
    assert "XDP acceleration:       Disabled" in status.status(STATUS, verbose=False).splitlines()


def test_status_says_which_watch_fails():
    watch = {"name": "pods", "synced": True, "objects": 1, "malformed": 0, "error": "connection refused"}
    shown = status.status({**STATUS, "watches": [watch]}, verbose=False)
    assert "1 of 1 watches fail: pods: connection refused" in shown


def test_the_command_line_imports_nothing_of_the_agent():
    code = (
        "import sys, seta_agent.cli.main; print([m for m in sys.modules if m.startswith(('seta_', 'async', 'numpy'))])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = {name for name in json.loads(loaded.replace("'", '"')) if not name.startswith("seta_agent.cli")}
    assert ours == {"seta_agent"}
