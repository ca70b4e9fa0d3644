"""Endpoints in, slices out; an endpoint stays in its slice."""

from typing import Any

from seta_crds import names
from seta_operator.services.slices import Slices
from seta_operator.services.slicing import Slicing
from tests.unit.operator.fakes import Bench, settle


def endpoint(bench: Bench, name: str, namespace: str = "ns", identity: int = 300, address: str = "10.0.0.2") -> None:
    status: dict[str, Any] = {"networking": {"addressing": [{"ipv4": address}], "node": "192.168.10.101"}}
    if identity:
        status["identity"] = {"id": identity, "labels": []}
    bench.seen(names.ENDPOINT, name, namespace, status=status)


def slices(bench: Bench) -> dict[str, tuple[str, list[str]]]:
    """Slice -> its namespace and endpoints."""
    return {
        name: (body["namespace"], [one["name"] for one in body["endpoints"]])
        for name, body in bench.api.of(names.CILIUM_ENDPOINT_SLICE).items()
    }


def test_a_full_slice_is_followed_by_another_and_filled_up_again() -> None:
    slicing = Slicing()
    first = {slicing.place(("ns", f"p{n}")) for n in range(100)}
    assert first == {"ces-ns-1"}
    assert slicing.place(("ns", "more")) == "ces-ns-2"
    assert slicing.place(("other", "p")) == "ces-other-1"
    assert slicing.remove(("ns", "p0")) == "ces-ns-1"
    assert slicing.remove(("ns", "p0")) is None
    assert slicing.place(("ns", "new")) == "ces-ns-1", "the fullest with room"
    assert slicing.place(("ns", "more")) == "ces-ns-2"


def test_an_empty_slices_name_is_not_used_again() -> None:
    slicing = Slicing()
    slicing.place(("ns", "a"))
    slicing.remove(("ns", "a"))
    assert slicing.members("ces-ns-1") is None
    assert slicing.place(("ns", "a")) == "ces-ns-2"


async def test_by_namespace_and_only_what_is_complete() -> None:
    bench = Bench()
    subject = Slices(bench.cluster, bench.writer)
    for name, namespace, identity in (("b", "ns", 300), ("a", "ns", 301), ("c", "other", 300), ("d", "ns", 0)):
        endpoint(bench, name, namespace, identity)
    await settle(subject)
    assert slices(bench) == {"ces-ns-1": ("ns", ["a", "b"]), "ces-other-1": ("other", ["c"])}
    endpoint(bench, "a", identity=0)
    bench.gone(names.ENDPOINT, "c", "other")
    await settle(subject)
    assert slices(bench) == {"ces-ns-1": ("ns", ["b"])}


async def test_slices_are_taken_over_after_a_restart() -> None:
    bench = Bench()
    for name, listed in (("ces-old-1", ["a", "dead"]), ("ces-old-2", ["a", "b"]), ("ces-old-3", ["dead"])):
        items = [{"name": one, "id": 300} for one in listed]
        bench.seen(names.CILIUM_ENDPOINT_SLICE, name, namespace="ns", endpoints=items)
    for name in "abc":
        endpoint(bench, name)
    subject = Slices(bench.cluster, bench.writer)
    subject.start()
    await settle(subject)
    found = slices(bench)
    assert "ces-old-3" not in found
    assert sorted(one for _, listed in found.values() for one in listed) == ["a", "b", "c"], "each in one slice"
    assert "a" in found["ces-old-1"][1]
    assert "b" in found["ces-old-2"][1]


async def test_an_address_change_is_one_write() -> None:
    bench = Bench()
    subject = Slices(bench.cluster, bench.writer)
    endpoint(bench, "a")
    endpoint(bench, "b")
    await settle(subject)
    bench.api.calls.clear()
    endpoint(bench, "a", address="10.0.0.9")
    await settle(subject)
    assert bench.api.calls == [("update", "CiliumEndpointSlice", "ces-ns-1")]


async def test_a_slice_that_somebody_deletes_comes_back() -> None:
    bench = Bench()
    subject = Slices(bench.cluster, bench.writer)
    endpoint(bench, "a")
    await settle(subject)
    bench.gone(names.CILIUM_ENDPOINT_SLICE, "ces-ns-1")
    await settle(subject)
    assert slices(bench) == {"ces-ns-1": ("ns", ["a"])}
