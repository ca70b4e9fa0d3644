"""Random situations: a cluster, policies, settings, and flows that are worth asking about.

    @hypothesis.given(generate.situations())
    def test(situation): ...

What is drawn is valid. Flows knock at the edges of what policies can say: the ports beside a range's ends, the
addresses beside a CIDR's, the ports that some pod has a name for, nodes local and remote. `as_case` writes a situation
down in the form of cases/*.yaml, so that a failure that hypothesis has shrunk can be kept there.
"""

import dataclasses
import typing

import yaml
from hypothesis import strategies as st

from tests.policy import generate_cilium, generate_cluster, generate_flows, generate_kubernetes, picking
from tests.policy.picking import Pick
from tests.policy.reference.flows import Flow, Manifest, Settings

Mode = typing.Literal["default", "always", "never"]
_USUAL: Mode = "default"
MODES: list[Mode] = [*[_USUAL] * 14, "always", "always", "never"]


@dataclasses.dataclass(frozen=True)
class Situation:
    objects: list[Manifest]
    policies: list[Manifest]
    settings: Settings
    flows: list[Flow]


def situations(*, beyond: bool = False, most_flows: int = 8) -> st.SearchStrategy[Situation]:
    """beyond: policies may have parts beyond layer 4, which are not enforced. most_flows: each
    with some beside it."""
    return picking.drawn(_situation, beyond, most_flows)


def from_seed(seed: int, *, beyond: bool = False, most_flows: int = 8) -> Situation:
    """The situation of a number: for many of them in little time."""
    return _situation(picking.seeded(seed), beyond, most_flows)


def _situation(pick: Pick, beyond: bool, most_flows: int) -> Situation:  # noqa: FBT001 (an argument of `drawn`)
    objects = generate_cluster.cluster(pick)
    policies = [_named(each, index) for index, each in enumerate(pick.several(_policy, beyond, most=6))]
    settings = Settings(policy_enforcement_mode=pick.one(MODES), policy_cidr_match_mode=pick.one(((), (), ("nodes",))))
    flows = generate_flows.flows(pick, objects, policies, settings, most_flows)
    return Situation(objects=objects, policies=policies, settings=settings, flows=flows)


def _policy(pick: Pick, beyond: bool) -> Manifest:  # noqa: FBT001 (an argument of `several`)
    return generate_kubernetes.policy(pick) if pick.chance(3) else generate_cilium.policy(pick, beyond)


def _named(policy: Manifest, index: int) -> Manifest:
    return {**policy, "metadata": {"name": f"policy-{index}", **policy["metadata"]}}


def as_case(situation: Situation, says: str, verdicts: dict[str, str]) -> str:
    """The situation as an entry of cases/*.yaml. verdicts: flow -> what is right. (node_address is left out.)"""
    changed = {
        key: [*value] if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(situation.settings).items()
        if value != getattr(Settings(), key)
    }
    case = {"says": says, "from": "a failure, shrunk", "alone": True, "settings": changed, "objects": situation.objects}
    return yaml.safe_dump(
        [{**case, "policies": dict(_short(each) for each in situation.policies), "flows": verdicts}], sort_keys=False
    )


def _short(policy: Manifest) -> tuple[str, typing.Any]:
    kinds = {"CiliumNetworkPolicy": "cnp", "CiliumClusterwideNetworkPolicy": "ccnp", "NetworkPolicy": "knp"}
    metadata = policy["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
    return f"{kinds[policy['kind']]} {name}", policy.get("spec") or policy["specs"]
