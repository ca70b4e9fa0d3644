"""Specs and identities in, members out: every kind of set, and what a change of its surroundings does."""

from typing import Any

import pytest

from seta_crds import labels, names, selectors
from seta_operator.services import prefixes, terms
from seta_operator.services.lasting import Lasting
from seta_operator.services.members import Members
from seta_operator.services.prefixes import Range
from seta_operator.services.setspec import CIDRSet, EntitySet, GroupSet, LabelSet, NodeSet, ServiceSet, SetSpec
from seta_operator.services.surroundings import Surroundings
from seta_operator.services.terms import Terms
from seta_operator.services.universe import Identity
from tests.unit.operator.fakes import Bench

CIDR, NODE = labels.CIDR_IDENTITIES[0], labels.NODE_IDENTITIES[0]


def selector(*requirements: tuple[str, str, tuple[str, ...]]) -> selectors.Selector:
    return selectors.selector(selectors.requirement(*one) for one in requirements)


def prefix(text: str) -> prefixes.Prefix:
    found = prefixes.parse(text)
    assert found is not None
    return found


def ranges(number: int, text: str) -> Identity:
    return Identity(number, {f"cidr:{text}": "", "reserved:world": ""}, (prefix(text),))


PODS = [Identity(256 + n, {"k8s:app": app, "k8s:io.kubernetes.pod.namespace": "ns"}) for n, app in enumerate("abc")]
RANGES = [
    ranges(CIDR + n, text) for n, text in enumerate(("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32"))
]
API_SERVER = Identity(CIDR + 9, {"cidr:192.0.2.1/32": "", "reserved:world": "", "reserved:kube-apiserver": ""}, ())
NODES = [
    Identity(NODE, {"reserved:remote-node": "", "node:pool": "fast"}),
    Identity(NODE + 1, {"reserved:remote-node": "", "node:pool": "slow", "reserved:kube-apiserver": ""}),
]
EVERYBODY = [*PODS, *RANGES, API_SERVER, *NODES]

MEMBERS = [  # what a set is of, who belongs to it
    (Terms(selectors=(selector(("app", "In", ("a", "c"))),)), {256, 258}),
    (
        Terms(selectors=(selector(("app", "NotIn", ("a",)), ("k8s:io.kubernetes.pod.namespace", "Exists", ())),)),
        {257, 258},
    ),
    (Terms(selectors=(selector(("app", "In", ("nobody",))),)), set()),
    (Terms(selectors=(selector(("reserved:world", "Exists", ())),)), {2, CIDR, CIDR + 1, CIDR + 2, CIDR + 3, CIDR + 9}),
    (Terms(ranges=(Range(prefix("10.0.0.0/8")),)), {CIDR, CIDR + 1, CIDR + 2}),
    (Terms(ranges=(Range(prefix("10.0.0.0/8"), (prefix("10.1.0.0/16"),)),)), {CIDR}),
    (Terms(ranges=(Range(prefix("10.0.0.0/8"), (prefix("10.1.2.0/24"),)),)), {CIDR, CIDR + 1}),
    (Terms(ranges=(Range(prefix("10.1.2.3/32")), Range(prefix("::/0")))), {CIDR + 3}),
    (Terms(entity="cluster"), {1, 3, 4, 5, 6, 7, 8, 256, 257, 258, NODE, NODE + 1, CIDR + 9}),
    (Terms(entity="world"), {2, CIDR, CIDR + 1, CIDR + 2, CIDR + 3, CIDR + 9}),
    (Terms(entity="host"), {1}),
    (Terms(entity="remote-node"), {6, 7, NODE, NODE + 1}),
    (Terms(entity="kube-apiserver"), {7, NODE + 1, CIDR + 9}),
    (Terms(entity="health"), {4}),
    (Terms(entity="none"), set()),
    (Terms(nodes=terms.of_nodes(selector(("pool", "In", ("fast",))))), {NODE}),
    (Terms(nodes=terms.of_nodes(selector(("pool", "NotIn", ("fast",))))), {NODE + 1}),
    (Terms(nodes=terms.of_nodes(selector())), {NODE, NODE + 1}),
]


@pytest.mark.parametrize("first", ["sets", "identities"])
@pytest.mark.parametrize(("wanted", "members"), MEMBERS, ids=[str(n) for n in range(len(MEMBERS))])
def test_who_belongs_to_a_set_whichever_comes_first(wanted: Terms, members: set[int], first: str) -> None:
    known = Members(lambda _: wanted)
    spec = EntitySet("it")
    if first == "sets":
        known.sets.use("p", {spec.set_name: spec})
    for identity in EVERYBODY:
        known.put(identity)
    if first == "identities":
        known.sets.use("p", {spec.set_name: spec})
    assert set(_content(known, spec)) == members
    for number in members:
        assert known.sets.containing(number) == [spec.set_name]
    for identity in EVERYBODY:
        known.remove(identity.number)
    assert set(_content(known, spec)) == {number for number in members if number < 256}


def _content(known: Members, spec: SetSpec) -> list[int]:
    content = known.sets.content(spec.set_name)
    assert content is not None
    numbers: list[int] = content["spec"]["identities"]
    return numbers


def test_an_identity_that_changes_joins_and_leaves() -> None:
    specs = [LabelSet(selector(("app", "In", (app,)))) for app in "ab"]
    known = Members(lambda spec: Terms(selectors=(spec.selector,)) if isinstance(spec, LabelSet) else Terms())
    known.sets.use("p", {spec.set_name: spec for spec in specs})
    known.put(Identity(256, {"k8s:app": "a"}))
    known.drain()
    known.put(Identity(256, {"k8s:app": "b"}))
    assert known.drain() == ({spec.set_name for spec in specs}, {256})
    assert [_content(known, spec) for spec in specs] == [[], [256]]


def test_sets_are_shared_and_counted() -> None:
    one, two = LabelSet(selector(("app", "In", ("a",)))), LabelSet(selector())
    known = Members(lambda spec: Terms(selectors=(spec.selector,)) if isinstance(spec, LabelSet) else Terms())
    known.put(Identity(256, {"k8s:app": "a"}))
    sets = known.sets
    assert sets.use("p", {one.set_name: one, two.set_name: two}) == {one.set_name, two.set_name}
    assert sets.use("q", {one.set_name: one}) == set()
    assert sets.use("p", {one.set_name: one}) == {two.set_name}
    assert sets.content(two.set_name) is None
    assert sets.content(one.set_name) == {"metadata": {}, "spec": {"selector": "any:app=a", "identities": [256]}}
    assert sets.use("p", {}) == set()
    assert sets.use("q", {}) == {one.set_name}
    assert list(sets.specs()) == []
    assert sets.terms(one.set_name) == Terms()


@pytest.mark.parametrize(
    ("outer", "inner", "holds"),
    [
        ("10.0.0.0/8", "10.255.0.0/16", True),
        ("10.0.0.0/8", "10.0.0.0/8", True),
        ("10.0.0.0/16", "10.0.0.0/8", False),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("0.0.0.0/0", "2001:db8::/32", False),
        ("2001:db8::/32", "2001:db8:1::/48", True),
    ],
)
def test_ranges_inside_ranges(outer: str, inner: str, holds: bool) -> None:  # noqa: FBT001 - a table
    assert prefix(outer).holds(prefix(inner)) is holds
    assert (prefix(outer) in set(prefix(inner).around())) is holds


def test_texts_of_ranges() -> None:
    assert [prefix(text).text for text in ("10.1.2.3/8", "192.0.2.1", "2001:DB8::1/32")] == [
        "10.0.0.0/8",
        "192.0.2.1/32",
        "2001:db8::/32",
    ]
    assert prefixes.parse("here") is None


class TestLasting:
    def test_a_number_as_long_as_anybody_uses_it(self) -> None:
        known: Lasting[str] = Lasting((100, 200))
        assert known.use("p", {"a", "b"}) == {100, 101}
        assert known.use("q", {"b"}) == set()
        assert known.use("p", set()) == set()
        a, b = (number for number in (100, 101) if known.thing(number) == "a"), known.number("b")
        assert known.collect(now=0, grace=10) == ([], [])
        assert known.collect(now=10, grace=10) == ([*a], [])
        assert known.number("b") == b

    def test_what_goes_is_let_go_first_and_forgotten_later(self) -> None:
        known: Lasting[str] = Lasting((100, 200))
        known.use("p", {"a"})
        known.use("p", set())
        assert known.collect(now=0, grace=0) == ([100], [])
        assert (known.has_left(100), known.thing(100)) == (True, "a")
        assert known.collect(now=1, grace=0) == ([], [100])
        assert (known.has_left(100), known.thing(100)) == (False, None)

    def test_back_in_time_it_has_its_number(self) -> None:
        known: Lasting[str] = Lasting((100, 200))
        known.use("p", {"a"})
        known.use("p", set())
        known.collect(now=0, grace=0)
        assert known.use("p", {"a"}) == {100}, "its identity has to be there again"
        assert not known.has_left(100)
        assert known.collect(now=1, grace=0) == ([], [])

    def test_restored_numbers_are_given_again(self) -> None:
        known: Lasting[str] = Lasting((100, 200))
        assert known.restore(150, "a")
        assert not known.restore(150, "b")
        assert known.use("p", {"a", "b"}) == {151}
        assert known.number("a") == 150


@pytest.fixture
def bench() -> Bench:
    return Bench()


def around(bench: Bench, *, cidrs_match_nodes: bool = False) -> Surroundings:
    return Surroundings(bench.cluster, cidrs_match_nodes=cidrs_match_nodes)


def group(bench: Bench, name: str, *cidrs: str, **own: str) -> None:
    bench.seen(names.CIDR_GROUP, name, metadata={"labels": own}, spec={"externalCIDRs": list(cidrs)})


def service(bench: Bench, name: str, wanted: dict[str, str] | None = None, /, **own: str) -> None:
    bench.seen(names.SERVICE, name, "ns", metadata={"labels": own}, spec={"selector": wanted})


def endpoint_slice(bench: Bench, name: str, of: str, *addresses: str, namespace: str = "ns") -> None:
    meta = {"labels": {"kubernetes.io/service-name": of}}
    bench.seen(names.ENDPOINT_SLICE, name, namespace, metadata=meta, endpoints=[{"addresses": list(addresses)}])


def of_ranges(*texts: str) -> tuple[Range, ...]:
    return tuple(Range(prefix(text)) for text in texts)


def test_groups_by_name_and_by_label(bench: Bench) -> None:
    it = around(bench)
    assert it.terms(GroupSet(ref="a")) == Terms()
    group(bench, "a", "192.0.2.0/24", "nonsense", trust="own")
    group(bench, "b", "198.51.100.7", trust="own")
    group(bench, "c", "203.0.113.0/24")
    assert it.terms(GroupSet(ref="a")).ranges == of_ranges("192.0.2.0/24")
    trusted = GroupSet(selector=selector(("trust", "In", ("own",))))
    assert it.terms(trusted).ranges == of_ranges("192.0.2.0/24", "198.51.100.7/32")


def test_services_with_and_without_selector(bench: Bench) -> None:
    it = around(bench)
    service(bench, "pods", {"app": "a"}, kind="x")
    service(bench, "far", None, kind="x")
    endpoint_slice(bench, "far-1", "far", "192.0.2.1", "192.0.2.2")
    endpoint_slice(bench, "pods-1", "pods", "10.0.0.1")
    pods = selectors.selector(
        [
            selectors.Requirement("k8s", "app", "In", ("a",)),
            selectors.Requirement("k8s", labels.NAMESPACE, "In", ("ns",)),
        ]
    )
    far = of_ranges("192.0.2.1", "192.0.2.2")
    assert it.terms(ServiceSet("ns", "pods")) == Terms(selectors=(pods,))
    assert it.terms(ServiceSet("ns", "far")) == Terms(ranges=far)
    assert it.terms(ServiceSet("", "far")) == Terms(ranges=far)
    assert it.terms(ServiceSet("other", "far")) == Terms()
    everything = selector(("kind", "In", ("x",)))
    assert it.terms(ServiceSet("ns", selector=everything)) == Terms(selectors=(pods,), ranges=far)
    endpoint_slice(bench, "far-1", "far", "192.0.2.9")
    assert it.terms(ServiceSet("ns", "far")) == Terms(ranges=of_ranges("192.0.2.9"))
    bench.gone(names.ENDPOINT_SLICE, "far-1", "ns")
    assert it.terms(ServiceSet("ns", "far")) == Terms()


def node(bench: Bench, name: str, address: str, **own: str) -> None:
    status: dict[str, Any] = {"addresses": [{"type": "InternalIP", "address": address}]}
    bench.seen(names.NODE, name, metadata={"labels": own}, status=status)


def test_nodes_are_known_by_labels_and_where_the_api_server_is(bench: Bench) -> None:
    it = around(bench)
    node(bench, "w1", "192.168.10.101", pool="fast")
    assert it.node("w1", 7) == Identity(7, {"reserved:remote-node": "", "node:pool": "fast"})
    assert it.node("w2", 7) is None
    endpoint_slice(bench, "kubernetes", "kubernetes", "192.168.10.101", "192.0.2.1", namespace="default")
    found = it.node("w1", 7)
    assert found is not None
    assert "reserved:kube-apiserver" in found.labels
    assert it.api_servers() == {prefix("192.0.2.1/32")}
    assert it.nodes_matching(selector(("pool", "In", ("fast",)))) == ["w1"]


def test_cidrs_match_nodes_only_where_that_is_wanted(bench: Bench) -> None:
    node(bench, "w1", "192.168.10.101")
    without, having = around(bench).node("w1", NODE), around(bench, cidrs_match_nodes=True).node("w1", NODE)
    assert without is not None
    assert having is not None
    block = Terms(ranges=of_ranges("192.168.0.0/16"))
    assert (block.hold(without), block.hold(having)) == (False, True)


def test_other_specs_mean_what_they_say(bench: Bench) -> None:
    it, one = around(bench), selector(("app", "In", ("a",)))
    assert it.terms(LabelSet(one)) == Terms(selectors=(one,))
    assert it.terms(EntitySet("world")) == Terms(entity="world")
    assert it.terms(NodeSet(one)) == Terms(nodes=terms.of_nodes(one))
    holes = Range(prefix("10.0.0.0/8"), (prefix("10.1.0.0/16"),))
    assert it.terms(CIDRSet("10.0.0.0/8", ("10.1.0.0/16",))) == Terms(ranges=(holes,))
    assert it.terms(CIDRSet("10.0.0.0/8", ("10.1.0.0/16",))).prefixes == {prefix("10.0.0.0/8"), prefix("10.1.0.0/16")}
