"""Pods and policies in, identities, sets and policies out: in the right order, as few writes as the change is big."""

from typing import Any

import pytest

from seta_crds import labels, names
from seta_operator.services import identities, policy
from seta_operator.services.policywrites import WRITTEN
from seta_operator.store import errors
from tests.unit.operator.fakes import Bench, Call, Subjects, settle_all

NS = {"k8s:io.kubernetes.pod.namespace": "ns"}
EMPIRE, DEATHSTAR = "any:org=empire,k8s:io.kubernetes.pod.namespace=ns", "k8s:io.kubernetes.pod.namespace=ns"


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.seen(names.NAMESPACE, "ns")
    return made


def subject(bench: Bench, grace: float = 900) -> Subjects:
    return Subjects(bench, grace)


def pod(bench: Bench, name: str, phase: str = "Running", **own: str) -> None:
    bench.seen(names.POD, name, "ns", metadata={"labels": own}, spec={}, status={"phase": phase})


def rule(bench: Bench, name: str, org: str, *, peer: str = "", generation: int = 1, **more: Any) -> None:
    peers = [{"matchLabels": {"org": peer}}] if peer else [{}]
    spec = {"endpointSelector": {"matchLabels": {"org": org}}, "ingress": [{"fromEndpoints": peers}], **more}
    bench.seen(names.NETWORK_POLICY, name, "ns", metadata={"generation": generation}, spec=spec)


def sets(bench: Bench) -> dict[str, list[int]]:
    return {one["spec"]["selector"]: one["spec"]["identities"] for one in bench.api.of(names.SELECTOR_SET).values()}


def writes(bench: Bench) -> list[tuple[str, str]]:
    """Verb and kind of every write so far; forgets them."""
    found = [(verb, kind) for verb, kind, _ in bench.api.calls if verb != "get"]
    bench.api.calls.clear()
    return found


async def test_sets_are_written_before_the_identity_and_the_policy(bench: Bench) -> None:
    it = subject(bench)
    pod(bench, "a", org="empire")
    rule(bench, "p", "empire")
    await settle_all(it)
    assert writes(bench) == [
        ("create", "SelectorSet"),
        ("create", "SelectorSet"),
        ("create", "CiliumIdentity"),
        ("create", "CompiledPolicy"),
        ("patch", "CiliumNetworkPolicy"),
    ]
    assert sets(bench) == {EMPIRE: [256], DEATHSTAR: [256]}
    (identity,) = bench.api.of(names.IDENTITY).values()
    assert identity["metadata"]["annotations"]["seta.dev/selector-sets"].split(",") == sorted(
        bench.api.of(names.SELECTOR_SET)
    )
    assert identity["metadata"]["labels"] == {
        "io.cilium.k8s.policy.cluster": "default",
        "io.kubernetes.pod.namespace": "ns",
        "org": "empire",
    }


async def test_a_second_pod_of_an_identity_writes_nothing(bench: Bench) -> None:
    it = subject(bench)
    pod(bench, "a", org="empire")
    rule(bench, "p", "empire")
    await settle_all(it)
    writes(bench)
    pod(bench, "b", org="empire")
    await settle_all(it)
    assert writes(bench) == []


async def test_a_new_identity_changes_the_sets_it_matches_and_no_policy(bench: Bench) -> None:
    it = subject(bench)
    for n in range(20):
        rule(bench, f"p{n}", f"org-{n}", peer=f"org-{n}")
    await settle_all(it)
    writes(bench)
    pod(bench, "a", org="org-7")
    await settle_all(it)
    assert writes(bench) == [("update", "SelectorSet"), ("create", "CiliumIdentity")]


async def test_a_changed_policy_is_one_policy_and_the_sets_that_come_and_go(bench: Bench) -> None:
    it = subject(bench)
    pod(bench, "a", org="empire")
    rule(bench, "p", "empire", peer="alliance")
    rule(bench, "q", "empire", peer="empire")
    await settle_all(it)
    writes(bench)
    rule(bench, "p", "empire", peer="rebels", generation=2)
    await settle_all(it)
    assert writes(bench)[:3] == [("create", "SelectorSet"), ("update", "CompiledPolicy"), ("delete", "SelectorSet")]
    bench.gone(names.NETWORK_POLICY, "p", "ns")
    await settle_all(it)
    assert [one for one in writes(bench) if one[0] != "patch"] == [
        ("delete", "CompiledPolicy"),
        ("delete", "SelectorSet"),
    ]


def failing(*failing_kinds: str) -> Any:
    def fail(call: Call) -> errors.ApiError | None:
        return errors.UnavailableError("down") if call[1] in failing_kinds else None

    return fail


async def test_a_set_that_fails_holds_back_what_depends_on_it_and_only_that(bench: Bench) -> None:
    it = subject(bench)
    rule(bench, "p", "empire")
    pod(bench, "a", org="empire")
    bench.seen(names.NAMESPACE, "other")
    bench.seen(names.POD, "b", "other", metadata={"labels": {"org": "alliance"}}, spec={})
    bench.api.fail = failing("SelectorSet")
    left = await settle_all(it)
    assert {kind.kind for kind, _ in left} == {"SelectorSet", "CiliumIdentity", "CompiledPolicy"}
    assert "status" not in bench.api.of(names.NETWORK_POLICY)["p"]
    (alone,) = bench.api.of(names.IDENTITY).values()
    assert alone["security-labels"]["k8s:io.kubernetes.pod.namespace"] == "other"
    bench.api.fail = failing()
    for change in left:
        it.mark(change)
    assert await settle_all(it) == set()
    assert len(bench.api.of(names.IDENTITY)) == 2
    assert "cnp.ns.p" in bench.api.of(names.COMPILED_POLICY)


async def test_a_policy_that_cannot_be_taken_back_keeps_its_sets(bench: Bench) -> None:
    it = subject(bench)
    rule(bench, "p", "empire")
    await settle_all(it)
    bench.gone(names.NETWORK_POLICY, "p", "ns")
    bench.api.fail = failing("CompiledPolicy")
    await settle_all(it)
    assert len(bench.api.of(names.SELECTOR_SET)) == 2
    bench.api.fail = failing()
    it.mark((names.COMPILED_POLICY, ("", "cnp.ns.p")))
    await settle_all(it)
    assert (bench.api.of(names.SELECTOR_SET), bench.api.of(names.COMPILED_POLICY)) == ({}, {})


async def test_the_condition_comes_last_and_is_written_once(bench: Bench) -> None:
    it = subject(bench)
    rule(bench, "p", "empire", nodeSelector={})
    await settle_all(it)
    (valid,) = bench.api.of(names.NETWORK_POLICY)["p"]["status"]["conditions"]
    assert (valid["status"], valid["reason"]) == ("False", "NotEnforcedAsWritten")
    writes(bench)
    bench.cluster.seen(names.NETWORK_POLICY, bench.api.of(names.NETWORK_POLICY)["p"])
    it.mark((names.NETWORK_POLICY, ("ns", "p")))
    await settle_all(it)
    assert writes(bench) == []


async def test_a_pod_waits_for_its_namespace(bench: Bench) -> None:
    it = subject(bench)
    bench.seen(names.POD, "a", "late", spec={})
    await settle_all(it)
    assert bench.api.of(names.IDENTITY) == {}
    bench.seen(names.NAMESPACE, "late", metadata={"labels": {"tier": "x"}})
    await settle_all(it)
    (found,) = bench.api.of(names.IDENTITY).values()
    assert found["security-labels"]["k8s:io.cilium.k8s.namespace.labels.tier"] == "x"


async def test_after_a_restart_everything_is_as_it_was(bench: Bench) -> None:
    pod(bench, "a", org="empire")
    pod(bench, "b", org="alliance")
    rule(bench, "p", "empire")
    first = subject(bench)
    first.start()
    await settle_all(first)
    writes(bench)
    second = subject(bench)
    second.start()
    await settle_all(second)
    assert writes(bench) == []
    pod(bench, "c", org="rebels")
    await settle_all(second)
    assert max(map(int, bench.api.of(names.IDENTITY))) == 258


async def test_leftovers_of_a_crash_are_taken_back(bench: Bench) -> None:
    bench.seen(names.SELECTOR_SET, "ss-gone", spec={"selector": "x", "identities": []})
    bench.seen(names.COMPILED_POLICY, "cnp.ns.gone", spec={})
    bench.seen(names.IDENTITY, "odd", **{"security-labels": {"k8s:a": "b"}})
    it = subject(bench)
    it.start()
    await settle_all(it)
    assert [bench.api.of(kind) for kind in WRITTEN] == [{}, {}, {}]


class TestIdentities:
    LABELS = identities.canonical({"k8s:app": "a"})
    OTHER = identities.canonical({"k8s:app": "b"})

    def test_one_label_set_one_number(self) -> None:
        known = identities.Identities()
        assert known.assign(("ns", "a"), self.LABELS) == 256
        assert known.assign(("ns", "b"), self.LABELS) is None
        assert known.assign(("ns", "c"), self.OTHER) == 257
        assert known.numbers() == [256, 257]
        assert known.labels(256) == {"k8s:app": "a"}

    def test_of_two_numbers_the_lower_is_given_and_the_other_goes_when_unused(self) -> None:
        known = identities.Identities()
        assert known.restore(300, self.LABELS)
        assert known.restore(400, self.LABELS)
        assert not known.restore(400, self.OTHER)
        assert not known.restore(100, self.OTHER), "reserved"
        assert not known.restore(500, ())
        assert known.assign(("ns", "a"), self.LABELS) is None
        assert known.collect([400], now=0, grace=0) == []
        assert known.collect([], now=0, grace=0) == [400]
        assert known.assign(("ns", "b"), self.LABELS) is None

    def test_collected_after_the_grace_period_of_disuse(self) -> None:
        known = identities.Identities()
        known.assign(("ns", "a"), self.LABELS)
        known.forget(("ns", "a"))
        assert known.collect([], now=0, grace=10) == []
        assert known.collect([256], now=9, grace=10) == [], "an endpoint has it: the time starts over"
        assert known.collect([], now=11, grace=10) == []
        assert known.collect([], now=20, grace=10) == []
        assert known.collect([], now=21, grace=10) == [256]
        assert known.labels(256) is None
        assert known.assign(("ns", "a"), self.LABELS) == 257, "the number rests"

    def test_back_within_the_grace_period_it_has_its_number(self) -> None:
        known = identities.Identities()
        known.assign(("ns", "a"), self.LABELS)
        known.forget(("ns", "a"))
        known.collect([], now=0, grace=10)
        assert known.assign(("ns", "a"), self.LABELS) is None


async def test_collection_takes_the_identity_out_of_its_sets(bench: Bench) -> None:
    it = subject(bench, grace=0)
    pod(bench, "a", org="empire")
    rule(bench, "p", "empire")
    await settle_all(it)
    pod(bench, "a", phase="Succeeded", org="empire")
    it.mark(policy.COLLECT)
    await settle_all(it)
    assert (bench.api.of(names.IDENTITY), sets(bench)) == ({}, {EMPIRE: [], DEATHSTAR: []})


async def test_more_label_sets_than_numbers_is_told_and_survived(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_IDENTITY", labels.MIN_IDENTITY)
    it = subject(bench)
    pod(bench, "a", org="empire")
    pod(bench, "b", org="alliance")
    assert await settle_all(it) == set()
    assert bench.api.of(names.IDENTITY).keys() == {"256"}
