"""Services and pools in, addresses and conditions out: a file per subject, a sentence per case, steps one by one.

A step applies (null: deletes) pools and services, then says what must be true. A service's expectation is its
addresses where it is satisfied; or `ips`, `reason` and what the message `says`; or null where nothing of ours is in its
status. After each step another operator is started on the same API server, which must find nothing to write.
"""

import pathlib
from typing import Any

import pytest
import yaml

from tests.unit.operator.lbipam_world import World, key_of

FILES = sorted((pathlib.Path(__file__).parent / "lbipam").glob("*.yaml"))
CASES = [
    pytest.param(steps, id=f"{file.stem}: {sentence}")
    for file in FILES
    for sentence, steps in yaml.safe_load(file.read_text()).items()
]
NUMBERS = {"total": "cilium.io/IPsTotal", "available": "cilium.io/IPsAvailable", "used": "cilium.io/IPsUsed"}


@pytest.mark.parametrize("steps", CASES)
async def test_case(steps: list[dict[str, Any]]) -> None:
    world = World(steps[0].get("default", "lbipam"))
    for number, step in enumerate(steps):
        for name, spec in step.get("pools", {}).items():
            world.pool(name, spec)
        for path, body in step.get("services", {}).items():
            world.service(path, body)
        assert await world.settle() == set()
        found = differences(world, step["expect"])
        assert not found, f"step {number}: {found}"
        before = world.writes
        await world.restarted()
        assert world.writes == before, f"step {number}: a restart writes"


def differences(world: World, expected: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for path, wanted in expected.get("services", {}).items():
        condition, ips = world.condition(path), world.addresses()["/".join(key_of(path))]
        if wanted is None:
            found += [f"{path}: {condition} {ips}"] if condition or ips else []
            continue
        told = {"ips": wanted, "reason": "satisfied"} if isinstance(wanted, list) else wanted
        if condition is None or told["ips"] != ips or condition["reason"] != told["reason"]:
            found.append(f"{path}: {ips} {condition}")
        elif told.get("says", "") not in condition["message"]:
            found.append(f"{path} says: {condition['message']}")
        elif (condition["status"] == "True") != (told["reason"] == "satisfied"):
            found.append(f"{path}: {condition}")
    for name, wanted in expected.get("pools", {}).items():
        conditions = world.pool_conditions(name)
        for word, number in NUMBERS.items():
            if word in wanted and conditions[number]["message"] != str(wanted[word]):
                found.append(f"{name} {word}: {conditions[number]['message']}")
        conflict = conditions["cilium.io/PoolConflict"]
        if (conflict["message"] or None) != wanted.get("conflict"):
            found.append(f"{name}: {conflict}")
        valid = conditions["Valid"]
        if wanted.get("valid", valid["reason"]) != valid["reason"] or wanted.get("says", "") not in valid["message"]:
            found.append(f"{name}: {valid}")
    return found


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
