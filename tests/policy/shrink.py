"""The smallest situation that still shows a difference: hypothesis shrinks choices, this takes parts of manifests away.

Called by `comparison` before it tells what differs. Both are wanted: hypothesis does not shrink what comes from a seed,
and what it has shrunk still holds objects that nothing needs.
"""

import copy
import dataclasses
import typing

from tests.policy.generate import Situation
from tests.policy.reference.flows import Manifest, Settings

# Fields that may go; a list that would become empty stays (empty and absent mean different things).
REMOVABLE = ("enableDefaultDeny", "matchLabels", "matchExpressions", "except", "toPorts", "icmps")


def smallest(situation: Situation, differs: typing.Callable[[Situation], bool]) -> Situation:
    """Take parts away as long as it still differs."""
    smaller = next((each for each in _smaller(situation) if _still(each, differs)), None)
    while smaller is not None:
        situation = smaller
        smaller = next((each for each in _smaller(situation) if _still(each, differs)), None)
    return situation


def _still(situation: Situation, differs: typing.Callable[[Situation], bool]) -> bool:
    """Without an object that a flow or a policy speaks of there is nothing to compare."""
    try:
        return differs(situation)
    except (KeyError, StopIteration):
        return False


def _smaller(situation: Situation) -> typing.Iterator[Situation]:
    """Each with one part less, the big parts first."""
    if len(situation.flows) > 1:
        for flow in situation.flows:
            yield dataclasses.replace(situation, flows=[flow])
    for less in _one_less(situation.policies):
        yield dataclasses.replace(situation, policies=less)
    for less in _one_less(situation.objects):
        yield dataclasses.replace(situation, objects=less)
    if situation.settings != Settings():
        yield dataclasses.replace(situation, settings=Settings())
    for number, policy in enumerate(situation.policies):
        for path in _paths(policy.get("spec", {}), ("spec",)):
            yield dataclasses.replace(
                situation,
                policies=[*situation.policies[:number], _without(policy, path), *situation.policies[number + 1 :]],
            )


def _one_less(items: list[Manifest]) -> typing.Iterator[list[Manifest]]:
    yield from (items[:index] + items[index + 1 :] for index in range(len(items)))


def _paths(value: typing.Any, path: tuple[str | int, ...]) -> typing.Iterator[tuple[str | int, ...]]:
    """Where something can be taken away: items of lists that have more than one, and removable fields."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            if len(value) > 1:
                yield (*path, index)
            yield from _paths(each, (*path, index))
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in REMOVABLE:
                yield (*path, key)
            yield from _paths(each, (*path, key))


def _without(policy: Manifest, path: tuple[str | int, ...]) -> Manifest:
    result = copy.deepcopy(policy)
    holder: typing.Any = result
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return result
