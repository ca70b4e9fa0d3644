"""L2 announcements against a real API server: what users see, what it costs, and who takes over."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from seta_crds import names
from tests.api import agents
from tests.api.agents import Agents, external, holders, policy
from tests.api.client import Client, RefusedError
from tests.api.controlplane import ControlPlane, Operator, eventually
from tests.api.test_restart import node

NODES = ("n1", "n2", "n3")
BAD_NODES, BAD_SERVICES, BAD_INTERFACES = (
    f"io.cilium/bad-{what}" for what in ("node-selector", "service-selector", "interface-regex")
)


@pytest.fixture
def living(plane: ControlPlane, lone_operator: Operator, api: Client) -> Iterator[Agents]:
    for number, name in enumerate(NODES, start=1):
        api.apply(node(name, number))
    with Agents(plane, *NODES) as running:
        lone_operator.start()
        yield running
        lone_operator.kill()
        for name in holders(api):
            api.delete({"kind": "Lease", "metadata": {"namespace": agents.NAMESPACE, "name": agents.PREFIX + name}})


def conditions(api: Client, name: str) -> dict[str, tuple[str, str, str]]:
    found = (api.get(names.L2_POLICY, name).get("status") or {}).get("conditions") or []
    return {one["type"]: (one["status"], one["reason"], one["message"]) for one in found}


def test_the_columns_that_people_look_at(plane: ControlPlane, living: Agents, api: Client) -> None:
    api.apply(policy())
    api.apply(external("web", "192.0.2.1"))
    eventually(lambda: "default-web" in holders(api), 10, "the lease")
    holder = holders(api)["default-web"]
    leases = plane.kubectl("get", "leases", "-n", "kube-system").stdout
    assert re.search(rf"^cilium-l2announce-default-web +{holder} +\S+$", leases, re.MULTILINE)
    shown = plane.kubectl("get", "l2announcement").stdout.split()
    assert shown[:3] == ["NAME", "AGE", "all"]
    for name in NODES:
        api.apply({**node(name, 1), "spec": {"unschedulable": name != holder}})
    api.apply(external("web2", "192.0.2.2"))
    eventually(lambda: holders(api).get("default-web2") == holder, 10, "the other lease")
    lists = plane.kubectl("get", "nodeann").stdout.splitlines()
    assert lists[0].split() == ["NAME", "REVISION", "SERVICES", "AGE"]
    assert lists[1].split()[:3] == [holder, "2", "2"]


def test_conditions_tell_what_to_change_and_what_is_right_works(living: Agents, api: Client) -> None:
    api.apply(external("web", "192.0.2.1"))
    api.apply(policy("good", interfaces=["^eth[0-9]+$"]))
    wrong = {"matchLabels": {"-x": "y"}}
    api.apply(policy("bad", nodeSelector=wrong, serviceSelector=wrong, interfaces=["eth0", "(?=x)"]))
    eventually(lambda: len(conditions(api, "bad")) == 3, 10, "three conditions")
    eventually(lambda: "default-web" in holders(api), 10, "what the other policy says")
    told = conditions(api, "bad")
    assert {kind: (status, reason) for kind, (status, reason, _) in told.items()} == dict.fromkeys(
        (BAD_NODES, BAD_SERVICES, BAD_INTERFACES), ("True", "error")
    )
    assert 'spec.nodeSelector.matchLabels is no selector: "-x" is no label key' in told[BAD_NODES][2]
    assert told[BAD_SERVICES][2].endswith("Correct it; until then no service is announced by this policy.")
    assert told[BAD_INTERFACES][2].startswith('spec.interfaces[1] "(?=x)" has (?=x: write ( or (?: for a group')
    assert conditions(api, "good") == {}
    api.apply(policy("bad", interfaces=["eth0"]))
    eventually(lambda: {one[0] for one in conditions(api, "bad").values()} == {"False"}, 10, "all resolved")
    assert {one[2] for one in conditions(api, "bad").values()} == {""}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"nodeSelector": {"matchLabels": {"a": "-"}}}, "spec.nodeSelector.matchLabels.a"),
        ({"serviceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "wants values"),
        ({"interface": ["eth0"]}, "field not declared in schema"),
    ],
)
def test_what_no_selector_can_be_is_refused(api: Client, spec: dict[str, Any], says: str) -> None:
    body = {"kind": "CiliumL2AnnouncementPolicy", "metadata": {"name": "p"}, "spec": spec}
    with pytest.raises(RefusedError, match=re.escape(says)):
        api.apply(body, dry_run=True)


def test_a_dead_node_is_taken_over_from_in_the_lease_duration(living: Agents, api: Client) -> None:
    api.apply(policy())
    for n in range(6):
        api.apply(external(f"s{n}", f"192.0.2.{n + 1}"))
    eventually(lambda: len(holders(api)) == 6, 10, "six leases")
    assert set(holders(api).values()) == set(NODES)
    living.silent.add("n1")
    began = time.monotonic()
    eventually(lambda: "n1" not in holders(api).values(), 10, "the others have them")
    assert 2.5 < time.monotonic() - began < 5, "three seconds is the lease duration here"
    before = holders(api)
    assert len(before) == 6
    living.silent.clear()
    time.sleep(1)
    assert holders(api) == before, "who comes back takes nothing from others"


def test_killed_it_moves_nothing_and_serves_on(living: Agents, lone_operator: Operator, api: Client) -> None:
    api.apply(policy())
    for n in range(6):
        api.apply(external(f"s{n}", f"192.0.2.{n + 1}"))
    eventually(lambda: len(holders(api)) == 6, 10, "six leases")
    before = versions(api)
    lone_operator.kill()
    time.sleep(4)  # longer than the lease duration: its own absence is nobody's death
    lone_operator.start()
    time.sleep(4)
    assert versions(api) == before
    api.apply(external("late", "192.0.2.9"))
    eventually(lambda: "default-late" in holders(api), 10, "and decides on")


def versions(api: Client) -> dict[str, str]:
    found = [*api.list(names.NODE_ANNOUNCEMENTS), *api.request("GET", names.LEASE.path(agents.NAMESPACE))["items"]]
    return {
        one["metadata"]["name"]: one["metadata"]["resourceVersion"]
        for one in found
        if not one["metadata"]["name"].startswith(("seta-l2-node-", "apiserver-", "seta-operator"))
    }


def test_writes_per_second_grow_with_nodes_and_not_with_services(
    plane: ControlPlane, living: Agents, api: Client
) -> None:
    api.apply(policy())
    rates = {}
    for services in (1, 500):
        for n in range(services):
            api.apply(external(f"s{n}", f"192.0.{2 + n // 200}.{n % 200 + 1}"))
        eventually(lambda count=services: len(holders(api)) == count, 60, f"{services} leases")
        time.sleep(2)
        rates[services] = rate(plane, living)
    print(f"writes per round of heartbeats, by number of services: {rates}")
    shares = Counter(holders(api).values()).values()
    assert (len(shares), sum(shares)) == (3, 500)
    assert max(shares) - min(shares) < 50, "even, but for what came while a heartbeat was late"
    assert rates[500] == pytest.approx(rates[1], abs=0.35), "one may fall into the window or beside it"
    living.silent.add("n1")
    began = time.monotonic()
    eventually(lambda: "n1" not in holders(api).values(), 15, "everything is taken over")
    print(f"taken over after {time.monotonic() - began:.2f} s")
    assert len(holders(api)) == 500


def rate(plane: ControlPlane, living: Agents, seconds: float = 6) -> float:
    """Writes that the API server counts, of whatever kind and by whomever, per round of heartbeats."""
    before, renewed = written(plane), living.renewals
    time.sleep(seconds)
    rounds = (living.renewals - renewed) / len(living.nodes)
    return (written(plane) - before) / rounds


def written(plane: ControlPlane) -> float:
    """Requests that changed something, less the API server's own."""
    found = re.findall(
        r'^apiserver_request_total\{(.*verb="(?:POST|PUT|PATCH|APPLY|DELETE)".*)\} (\S+)$',
        plane.kubectl("get", "--raw", "/metrics").stdout,
        re.MULTILINE,
    )
    return sum(float(count) for labels, count in found)


def test_switched_off_it_takes_everything_back(
    plane: ControlPlane, living: Agents, lone_operator: Operator, api: Client
) -> None:
    api.apply(policy())
    api.apply(external("web", "192.0.2.1"))
    eventually(lambda: "default-web" in holders(api), 10, "the lease")
    lone_operator.kill()
    off = Operator(plane, "off", identity_gc_interval="2s", cluster_pool_ipv4_cidr="10.0.0.0/16")
    try:
        off.start()
        eventually(lambda: not holders(api) and not api.list(names.NODE_ANNOUNCEMENTS), 10, "nothing is left")
    finally:
        off.kill()
