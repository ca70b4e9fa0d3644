"""The situations of situations/*.yaml: what is applied, step by step. Nothing here says what is to be expected.

- says: a sentence
  policies: {cnp red/p: {…}}        as in tests/policy/cases: kind, namespace/name, spec (or a list: specs)
  labels: {pod red/a: {role: x}}    what differs from ground.yaml; null takes a label away
  objects: [{…}]                    whole manifests that policies speak of: services, CIDR groups
  then:                             further steps; each has what the one before had, and its own over it
    - says: …
      policies: {cnp red/p: null}   null takes a policy away; so does labels: {pod red/a: null} with changed labels
"""

import copy
import dataclasses
import pathlib
from typing import Any

import yaml

from tests.e2e.policy.api import Manifest
from tests.policy import catalogue

HERE = pathlib.Path(__file__).parent / "situations"


@dataclasses.dataclass(frozen=True)
class Step:
    """A state of the cluster. `objects` are those beside the policies. harmless: it changes no verdict."""

    says: str
    harmless: bool
    policies: list[Manifest]
    labels: dict[str, dict[str, str | None]]
    objects: list[Manifest]


@dataclasses.dataclass(frozen=True)
class Situation:
    says: str
    steps: list[Step]


def read() -> list[Situation]:
    return [_situation(raw) for path in sorted(HERE.glob("*.yaml")) for raw in yaml.safe_load(path.read_text())]


def _situation(raw: dict[str, Any]) -> Situation:
    state: dict[str, Any] = {"policies": {}, "labels": {}, "objects": []}
    steps = []
    for one in (raw, *raw.get("then", [])):
        state = {
            "policies": _over(state["policies"], one.get("policies", {})),
            "labels": _over(state["labels"], one.get("labels", {})),
            "objects": state["objects"] + one.get("objects", []),
        }
        steps.append(_step(one, copy.deepcopy(state)))
    return Situation(raw["says"], steps)


def _over(known: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (known | newer).items() if value is not None}


def _step(raw: dict[str, Any], state: dict[str, Any]) -> Step:
    policies = [catalogue.policy(key, spec) for key, spec in state["policies"].items()]
    return Step(raw["says"], raw.get("harmless", False), policies, state["labels"], state["objects"])
