"""Contents of the CiliumIdentities and CompiledPolicies that are wanted, and their names. Pure; used by policy.py."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.services.compiled import Compiled
from seta_operator.services.identities import Labels, canonical
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key

MAX_NAME = 253
_PREFIX = {names.NETWORK_POLICY: "cnp", names.CLUSTERWIDE_NETWORK_POLICY: "ccnp"}


def policy_name(kind: Kind, key: Key) -> str:
    """Name of the CompiledPolicy of a policy: cnp.<namespace>.<name>, ccnp.<name>."""
    full = ".".join(part for part in (_PREFIX[kind], *key) if part)
    if len(full) <= MAX_NAME:
        return full
    return f"{full[: MAX_NAME - 17]}-{hashlib.sha256(full.encode()).hexdigest()[:16]}"


def policy(kind: Kind, key: Key, source: facts.Policy, compiled: Compiled) -> facts.JSON:
    """Content of the CompiledPolicy."""
    origin = {
        "kind": kind.kind,
        "namespace": key[0],
        "name": key[1],
        "uid": source.uid,
        "generation": source.generation,
    }
    return {"metadata": {}, "spec": {"source": origin, "rules": compiled.rules}}


def identity(label_set: Mapping[str, str], sets: Sequence[str], held: facts.Owned | None) -> facts.JSON:
    """Content of the CiliumIdentity. The sets are those it is made with: later ones are not added."""
    annotations = {names.SELECTOR_SETS_ANNOTATION: ",".join(sets)} if sets else {}
    if held is not None:
        annotations = held.content["metadata"].get("annotations", {})
    own = {key.removeprefix("k8s:"): value for key, value in label_set.items()}
    metadata: facts.JSON = {"labels": {key: value for key, value in own.items() if _is_label(key)}}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "security-labels": dict(label_set)}


def given(cluster: Cluster) -> Iterator[tuple[int, Labels]]:
    """Numbers given out before a restart, ascending: by CiliumIdentity, else by an endpoint that has one."""
    from_endpoints = {
        endpoint.identity: endpoint.labels for _, endpoint in cluster.endpoints.items() if endpoint.identity
    }
    written = {
        int(name): canonical(held.content.get("security-labels") or {})
        for (_, name), held in cluster.identities.items()
        if name.isdecimal()
    }
    yield from sorted((from_endpoints | written).items())


def _is_label(key: str) -> bool:
    """Whether the API server takes it as a label key: namespace labels with a prefix make two slashes."""
    prefix, slash, name = key.rpartition("/")
    return len(name) <= 63 and len(prefix) <= MAX_NAME and "/" not in prefix and (bool(prefix) or not slash)
