"""The operator killed with -9, at rest and in the middle: numbers and ranges stay, changes are caught up with."""

import signal
import time
from typing import Any

import pytest

from seta_crds import labels, names
from tests.api import cluster
from tests.api.client import Client, RefusedError
from tests.api.controlplane import Operator, eventually

JSON = dict[str, Any]


def pod(name: str, **own: str) -> JSON:
    spec = {"containers": [{"name": "it", "image": "it"}]}
    return {"kind": "Pod", "metadata": {"name": name, "labels": {"app": name, **own}}, "spec": spec}


def node(name: str, number: int) -> JSON:
    addresses = [{"type": "InternalIP", "address": f"192.168.10.{number}"}]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses}}


def service(name: str) -> JSON:
    spec = {"ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}
    return {"kind": "Service", "metadata": {"name": name}, "spec": spec}


def policy(name: str, **own: str) -> JSON:
    spec = {"endpointSelector": {"matchLabels": own}, "ingress": [{"fromEndpoints": [{"matchLabels": own}]}]}
    return {"kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": spec}


def endpoint(name: str, identity: int, **own: str) -> JSON:
    status = {
        "id": 1,
        "identity": {"id": identity, "labels": labels.as_list({f"k8s:{key}": value for key, value in own.items()})},
        "networking": {"addressing": [{"ipv4": "10.0.0.9"}], "node": "192.168.10.101"},
    }
    return {"kind": "CiliumEndpoint", "metadata": {"name": name}, "status": status}


def numbers(api: Client) -> dict[str, int]:
    """Identity, as people read it -> its number."""
    found = (one for one in api.list(names.IDENTITY) if not cluster.is_kept(one))
    return {cluster.described(one): int(one["metadata"]["name"]) for one in found}


def frontends(api: Client) -> dict[str, int]:
    """Service and port -> number of its frontend."""
    return {
        f"{one['metadata']['name']} {port['name']}": port["frontends"][0]["id"]
        for one in api.list(names.SERVICE_TABLE)
        for port in one["spec"]["ports"]
    }


def ranges(api: Client) -> dict[str, str]:
    """Node -> its pod CIDR."""
    return {one["metadata"]["name"]: one["spec"]["ipam"]["podCIDRs"][0] for one in api.list(names.CILIUM_NODE)}


def versions(api: Client) -> dict[str, str]:
    """Every object the operator wrote -> its resourceVersion."""
    return {
        f"{kind.kind} {one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for kind in cluster.WRITTEN_BY_OPERATOR
        for one in api.list(kind)
    }


def slices(api: Client) -> set[str]:
    return {item["name"] for one in api.list(names.CILIUM_ENDPOINT_SLICE) for item in one["endpoints"]}


def settled(api: Client, probe: str) -> None:
    """Give every subject something to do, and wait until it is done: what came before is then done too."""
    for body in (pod(probe), node(probe, 250), service(probe), endpoint(probe, 300, app=probe)):
        api.apply(body)
    eventually(lambda: f"default: app={probe}" in numbers(api), 15, "probe's identity")
    eventually(lambda: probe in ranges(api), 15, "probe's pod CIDR")
    eventually(lambda: f"{probe} dns" in frontends(api), 15, "probe's service table")
    eventually(lambda: probe in slices(api), 15, "probe's slice")


def test_a_restart_writes_nothing(lone_operator: Operator, api: Client) -> None:
    for body in (node("w1", 101), node("w2", 102), pod("a"), pod("b"), service("s"), policy("p", app="a")):
        api.apply(body)
    lone_operator.start()
    settled(api, "before")
    before = versions(api)
    lone_operator.kill()
    lone_operator.start()
    settled(api, "after")
    after = versions(api)
    # The probe's endpoint joined the first one's slice; nothing else was touched.
    changed = {name for name, version in before.items() if after.get(name) != version}
    assert changed == {"CiliumEndpointSlice ces-default-1"}


def test_what_changed_while_it_was_dead_is_caught_up(lone_operator: Operator, api: Client) -> None:
    for body in (
        node("w1", 101),
        node("w2", 102),
        pod("a"),
        pod("b"),
        service("s"),
        service("t"),
        policy("p", app="a"),
    ):
        api.apply(body)
    lone_operator.start()
    settled(api, "before")
    kept = numbers(api), frontends(api), ranges(api)
    lone_operator.kill()
    api.delete(node("w1", 101))
    api.delete(service("s"))
    api.apply(policy("p", app="b"))
    api.apply(pod("c"))
    lone_operator.start()
    settled(api, "after")
    assert numbers(api).items() >= kept[0].items()
    assert "s http" not in frontends(api)
    assert frontends(api)["t http"] == kept[1]["t http"]
    assert "w1" not in ranges(api)
    assert ranges(api)["w2"] == kept[2]["w2"]
    eventually(lambda: "any:app=b,k8s:io.kubernetes.pod.namespace=default" in cluster.seen(api)["SelectorSet"], 5, "p")


@pytest.mark.parametrize("milliseconds", [5, 20, 60, 150])
def test_killed_in_the_middle_of_work(lone_operator: Operator, api: Client, milliseconds: int) -> None:
    known: tuple[dict[str, Any], ...] = ({}, {}, {})
    for round_ in range(3):
        lone_operator.start()
        for n in range(10):
            word = f"r{round_}n{n}"
            wide = policy(word, app=word)
            wide["spec"]["ingress"].append({"fromNodes": [{}]})
            wide["spec"]["egress"] = [{"toCIDR": [f"10.{round_}.{n}.0/24"]}]
            for body in (pod(word, crew="yes"), service(word), node(word, round_ * 10 + n + 1), wide):
                api.apply(body)
        time.sleep(milliseconds / 1000)  # the moment of death is what is varied
        lone_operator.kill()
        for before, now in zip(known, (numbers(api), frontends(api), ranges(api)), strict=True):
            assert now.items() >= before.items()
            before.update(now)
    lone_operator.start()
    settled(api, "end")
    for before, now in zip(known, (numbers(api), frontends(api), ranges(api)), strict=True):
        assert now.items() >= before.items()
        assert len(set(now.values())) == len(now)
    crew = {number for name, number in numbers(api).items() if "crew=yes" in name}
    assert len(crew) == 30
    sets = {one["spec"]["selector"]: one["spec"]["identities"] for one in api.list(names.SELECTOR_SET)}
    wanted = {
        f"any:app={name.partition('app=')[2].partition(',')[0]}": n for name, n in numbers(api).items() if n in crew
    }
    pods = {text: members for text, members in sets.items() if text.startswith("any:")}
    assert pods == {f"{text},k8s:io.kubernetes.pod.namespace=default": [number] for text, number in wanted.items()}
    ranges_of = {text: number for text, number in numbers(api).items() if text.startswith("cidr:")}
    assert {text: sets[text] for text in ranges_of} == {text: [number] for text, number in ranges_of.items()}
    assert len(ranges_of) == 30
    own = sorted(number for text, number in numbers(api).items() if text.startswith("node "))
    assert sets["node:*"] == own
    assert len(own) == 31, "the probe's node, too"


def test_a_deleted_identity_in_use_comes_back_with_its_number(lone_operator: Operator, api: Client) -> None:
    api.apply(pod("a"))
    lone_operator.start()
    eventually(lambda: "default: app=a" in numbers(api), 10, "identity")
    number = numbers(api)["default: app=a"]
    lost = {"kind": "CiliumIdentity", "metadata": {"name": str(number)}}
    uid = api.get(names.IDENTITY, str(number))["metadata"]["uid"]
    api.delete(lost)

    def back() -> bool:
        try:
            return bool(api.get(names.IDENTITY, str(number))["metadata"]["uid"] != uid)
        except RefusedError:
            return False

    eventually(back, 10, "identity again")
    assert numbers(api)["default: app=a"] == number


def test_an_endpoint_remembers_its_identity_where_everything_else_is_lost(lone_operator: Operator, api: Client) -> None:
    own = {"app": "a", labels.NAMESPACE: "default", labels.CLUSTER: "default"}
    own[f"{labels.NAMESPACE_LABELS}.kubernetes.io/metadata.name"] = "default"
    api.apply(pod("a"))
    api.apply(endpoint("a", 4711, **own))
    lone_operator.start()
    eventually(lambda: numbers(api).get("default: app=a") == 4711, 10, "the endpoint's number")


def test_an_identity_goes_when_neither_pod_nor_endpoint_has_it(lone_operator: Operator, api: Client) -> None:
    api.apply(pod("a"))
    lone_operator.start()
    eventually(lambda: "default: app=a" in numbers(api), 10, "identity")
    number = numbers(api)["default: app=a"]
    api.apply(endpoint("a", number, app="a"))
    api.delete(pod("a"))
    time.sleep(3)  # longer than the grace period: nothing may happen
    assert numbers(api)["default: app=a"] == number
    api.delete(endpoint("a", number))
    eventually(lambda: not numbers(api), 6, "identity gone")


def test_health_tells_what_is_missing(lone_operator: Operator, api: Client) -> None:
    assert lone_operator.health() == (0, "")
    lone_operator.start()
    assert lone_operator.health() == (200, "ok\n")


def test_a_signal_ends_it_at_once(lone_operator: Operator, api: Client) -> None:
    api.apply(pod("a"))
    lone_operator.start()
    began = time.monotonic()
    lone_operator.kill(signal.SIGTERM)
    assert time.monotonic() - began < 4, "an update is as long without an operator as the old one takes to end"
    assert '"operator.stopped"' in lone_operator.log.read_text()
