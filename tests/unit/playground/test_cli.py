"""What is typed, and what it means."""

import pytest

from seta_playground import cli, network, state
from seta_playground.binaries import Binaries
from seta_playground.errors import PlaygroundError


def asked(*argv: str) -> state.Settings:
    return cli.settings(cli.parser().parse_args(["up", *argv]))


def test_up_without_options_is_three_nodes_with_seta():
    assert asked() == state.Settings(network="seta", kube_proxy="", nodes=3, values=())


def test_the_plain_network_has_kube_proxy_in_iptables_mode_unless_told_otherwise():
    assert asked("--network", "plain").kube_proxy == "iptables"
    assert asked("--network", "plain", "--kube-proxy", "nftables").kube_proxy == "nftables"


def test_values_are_kept_in_their_order():
    assert asked("--set", "b=1", "--set", "a=x=y").values == ("b=1", "a=x=y")


def test_a_value_without_a_key_is_refused():
    with pytest.raises(PlaygroundError, match="key=value"):
        asked("--set", "debug")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--network", "plain", "--set", "a=b"], "--network plain"),
        (["--kube-proxy", "nftables"], "--network plain"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, argv: list[str], says: str):
    with pytest.raises(PlaygroundError, match=says):
        network.of(asked(*argv), Binaries(tmp_path, {}))


def test_the_command_of_exec_is_everything_after_the_dashes(monkeypatch: pytest.MonkeyPatch):
    ran = []
    monkeypatch.setattr(cli.os, "geteuid", lambda: 0)
    monkeypatch.setattr(cli.commands, "execute", lambda *arguments: ran.append(arguments))
    assert cli.main(["exec", "--name", "x", "k8s-s", "--", "ip", "--name", "--", "y"]) == 0
    assert ran == [("x", "k8s-s", ["ip", "--name", "--", "y"])]


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(cli.os, "geteuid", lambda: 1000)
    assert cli.main(["up"]) == 1
    assert "root" in capsys.readouterr().err


def test_a_cluster_that_is_not_up_is_answered_with_a_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(state.paths, "RUN", tmp_path)
    assert cli.main(["env", "--name", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("playground: no cluster named nowhere is up")


def test_a_cluster_that_never_got_an_api_server_has_no_environment(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(state.paths, "RUN", tmp_path)
    state.Cluster("x", state.Settings(), state.STARTING, None).save()
    assert cli.main(["env", "--name", "x"]) == 1
    assert "playground up --name x" in capsys.readouterr().err
