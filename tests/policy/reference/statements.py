"""The form that policies of all three kinds are brought into, so that one page decides them all.

Made by `cilium` and `kubernetes` for one subject in one direction, read by `evaluate`.
"""

import dataclasses
import typing

from tests.policy.reference.cluster import Cluster
from tests.policy.reference.flows import Flow, RuleRef, Settings
from tests.policy.reference.parties import Party, Seen
from tests.policy.reference.traffic import Coverage

Direction = typing.Literal["ingress", "egress"]


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of every policy: one end of one flow."""

    cluster: Cluster
    settings: Settings
    direction: Direction
    subject: Party
    peer: Seen
    flow: Flow


@dataclasses.dataclass(frozen=True)
class Statement:
    """What one rule says to the question: how far it covers the flow, to allow it or to deny it."""

    rule: RuleRef
    deny: bool
    coverage: Coverage


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one policy (one spec of it) that selects the subject says to the question."""

    policy: RuleRef
    default_deny: bool
    statements: tuple[Statement, ...]
