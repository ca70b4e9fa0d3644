"""Contents of the CiliumIdentities and CompiledPolicies that are wanted, and their names. Pure; used by policy.py."""

import hashlib
from collections.abc import Mapping, Sequence

from seta_crds import labels, names
from seta_crds.names import Kind
from seta_operator.services.compiled import Compiled
from seta_operator.store import facts
from seta_operator.store.table import Key

MAX_NAME = 253
_PREFIX = {names.NETWORK_POLICY: "cnp", names.CLUSTERWIDE_NETWORK_POLICY: "ccnp", names.K8S_NETWORK_POLICY: "np"}


def policy_name(kind: Kind, key: Key) -> str:
    """Name of the CompiledPolicy of a policy: cnp.<namespace>.<name>, ccnp.<name>, np.<namespace>.<name>."""
    full = ".".join(part for part in (_PREFIX[kind], *key) if part)
    if len(full) <= MAX_NAME:
        return full
    return f"{full[: MAX_NAME - 17]}-{hashlib.sha256(full.encode()).hexdigest()[:16]}"


def policy(
    kind: Kind, key: Key, source: facts.Policy, compiled: Compiled, nodes: Mapping[int, Sequence[str]]
) -> facts.JSON:
    """Content of the CompiledPolicy; `nodes`: place of a host rule -> names of the nodes it is about."""
    origin = {
        "kind": kind.kind,
        "namespace": key[0],
        "name": key[1],
        "uid": source.uid,
        "generation": source.generation,
    }
    rules = [{**rule, "nodes": nodes[n]} if n in nodes else rule for n, rule in enumerate(compiled.rules)]
    return {"metadata": {}, "spec": {"source": origin, "rules": rules}}


def identity(
    label_set: Mapping[str, str], sets: Sequence[str], held: facts.Owned | None, *, node: str = ""
) -> facts.JSON:
    """Content of the CiliumIdentity, of a pod, an address range, or the node of that name.

    The sets are those it is made with: later ones are not added.
    """
    annotations = {names.SELECTOR_SETS_ANNOTATION: ",".join(sets)} if sets else {}
    if held is not None:
        annotations = held.content["metadata"].get("annotations", {})
    if node:
        annotations = {**annotations, names.NODE_ANNOTATION: node}
    own = {key.removeprefix("k8s:"): value for key, value in label_set.items() if key.startswith("k8s:")}
    found = {key: value for key, value in own.items() if _is_label(key)}
    metadata: facts.JSON = {key: value for key, value in (("labels", found), ("annotations", annotations)) if value}
    return {"metadata": metadata, "security-labels": dict(label_set)}


def _is_label(key: str) -> bool:
    """Whether the API server takes it: namespace labels with a prefix have two slashes, and ports are no value."""
    prefix, slash, name = key.rpartition("/")
    fits = len(name) <= 63 and len(prefix) <= MAX_NAME and "/" not in prefix and (bool(prefix) or not slash)
    return fits and key != labels.NAMED_PORTS
