"""The tables of this folder, read from YAML: the cluster, the cases, the examples and the bad policies.

Used by the tests here, by the comparison with the compiler and by the tests against an API server, so that all of them
ask about the same situations.
"""

import dataclasses
import functools
import pathlib
import re
import typing

import yaml

from tests.policy.reference.flows import Manifest, Settings

HERE = pathlib.Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "policies"
WORKLOADS = EXAMPLES / "workloads.yaml"
POLICY_KINDS = {
    "cnp": ("cilium.io/v2", "CiliumNetworkPolicy"),
    "ccnp": ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
    "knp": ("networking.k8s.io/v1", "NetworkPolicy"),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One situation. flows: flow -> verdict; because: flow -> what must be true of its reasons. In the table, `objects`
    are added to the common cluster, or are all there is with `alone: true`."""

    says: str
    source: str
    settings: Settings
    objects: list[Manifest]
    policies: list[Manifest]
    flows: dict[str, str]
    because: dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class BadPolicy:
    """A policy that must be refused. refused_by: "schema" (the API server, with field validation Strict) or "condition"
    (Valid=False after it was stored); says: a part of the sentence that the user then reads."""

    name: str
    policy: Manifest
    refused_by: typing.Literal["schema", "condition"]
    says: str


@functools.cache
def cluster() -> tuple[Manifest, ...]:
    """The workloads of the examples, placed on three nodes."""
    table = yaml.safe_load((HERE / "cluster.yaml").read_text())
    workloads = list(documents(WORKLOADS))
    for each in workloads:
        if each["kind"] == "Pod":
            node, address = table["placement"][f"{each['metadata']['namespace']}/{each['metadata']['name']}"]
            each["spec"]["nodeName"], each["status"] = node, {"podIP": address}
    return (*table["objects"], *workloads)


def documents(path: pathlib.Path) -> typing.Iterator[Manifest]:
    yield from (each for each in yaml.safe_load_all(path.read_text()) if each)


def cases() -> list[Case]:
    return [case(raw) for path in sorted((HERE / "cases").glob("*.yaml")) for raw in yaml.safe_load(path.read_text())]


def examples() -> list[Case]:
    """Each file of examples/policies, with what its leading comment claims."""
    return [_example(path) for path in sorted(EXAMPLES.glob("*.yaml")) if path != WORKLOADS]


def bad_policies() -> list[BadPolicy]:
    return [
        BadPolicy(f"{path.stem}: {name}", _bad(path.stem, number, raw), raw["refusedBy"], raw["says"])
        for path in sorted((HERE / "bad").glob("*.yaml"))
        for number, (name, raw) in enumerate(yaml.safe_load(path.read_text()).items())
    ]


def _bad(table: str, number: int, raw: dict[str, typing.Any]) -> Manifest:
    """policy is a whole manifest, or a spec with its kind as the key: {cnp: {…}}; names are made unique."""
    kind, body = next(iter(raw["policy"].items()))
    if kind not in POLICY_KINDS:
        return typing.cast("Manifest", raw["policy"])
    where = "" if kind == "ccnp" else "default/"
    return policy(f"{kind} {where}bad-{table.replace('_', '-')}-{number}", body)


def case(raw: dict[str, typing.Any]) -> Case:
    settings: dict[str, typing.Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw.get("settings", {}).items()
    }
    return Case(
        says=raw["says"],
        source=raw["from"],
        settings=Settings(**settings),
        objects=replaced(() if raw.get("alone") else cluster(), raw.get("objects", [])),
        policies=[policy(key, spec) for key, spec in raw["policies"].items()],
        flows=raw["flows"],
        because=raw.get("because", {}),
    )


def policy(key: str, spec: typing.Any) -> Manifest:
    """The manifest behind "cnp shop/name": {spec}, "ccnp name": {spec}; a list of specs becomes `specs`."""
    kind, _, name = key.partition(" ")
    namespace, _, name = name.rpartition("/")
    api_version, full_kind = POLICY_KINDS[kind]
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    body = {"specs": spec} if isinstance(spec, list) else {"spec": spec}
    return {"apiVersion": api_version, "kind": full_kind, "metadata": metadata, **body}


def replaced(objects: typing.Iterable[Manifest], newer: list[Manifest]) -> list[Manifest]:
    """The objects, with those of `newer` in place of their namesakes, or added."""
    found = {_identity(each): each for each in objects}
    return list((found | {_identity(each): each for each in newer}).values())


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _example(path: pathlib.Path) -> Case:
    comments = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    claims = [found for line in comments if (found := re.fullmatch(r"(\S+ -> \S+ \S+/\w+): (.+)", line))]
    prose = [line for line in comments if line and " -> " not in line]
    return Case(
        says=" ".join(prose),
        source=path.name,
        settings=Settings(),
        objects=list(cluster()),
        policies=list(documents(path)),
        flows={found[1]: found[2] for found in claims},
        because={},
    )
