"""YAML in, intermediate resources and conditions out: a directory of cases/ each.

in.yaml is applied, out.yaml must come true; then-in.yaml and then-delete.yaml change it, then-out.yaml must come
true. An expectation lists every object of the kinds it speaks of (`none:` names kinds without objects), with only
the fields it cares about. SETA_WRITE_CASES=1 writes missing expectations from what is seen, to be read before they
are committed.
"""

import os
import pathlib
import time
from typing import Any

import pytest
import yaml

from tests.api import cluster
from tests.api.client import Client
from tests.api.controlplane import Operator, eventually

CASES = sorted(path for path in (pathlib.Path(__file__).parent / "cases").iterdir() if path.is_dir())
DERIVED = ("CompiledPolicy", "SelectorSet", "CiliumIdentity", "CiliumNode", "CiliumEndpointSlice", "ServiceTable")
NOISE = ("apiVersion", "uid", "lastTransitionTime", "selector", "selector-sets")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(case: pathlib.Path, operator: Operator, api: Client) -> None:
    for step in ("", "then-"):
        for body in documents(case / f"{step}delete.yaml"):
            api.delete(body)
        for body in documents(case / f"{step}in.yaml"):
            api.apply(body)
        if (case / f"{step}in.yaml").exists() or (case / f"{step}delete.yaml").exists():
            check(case / f"{step}out.yaml", api)


def check(file: pathlib.Path, api: Client) -> None:
    if not file.exists() and os.environ.get("SETA_WRITE_CASES"):
        write(file, api)
    wanted = documents(file)
    assert wanted, f"{file} expects nothing"
    found: list[str] = []

    def comes_true() -> bool:
        found[:] = unmet(wanted, cluster.seen(api))
        return not found

    try:
        eventually(comes_true, 10, f"{file.parent.name}/{file.name}")
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *found])) from None


def unmet(wanted: list[dict[str, Any]], seen: dict[str, dict[str, Any]]) -> list[str]:
    """Expectations that are not true."""
    found: list[str] = []
    kinds: dict[str, set[str]] = {}
    for body in wanted:
        for kind in body.get("none", ()):
            kinds.setdefault(kind, set())
        if "kind" in body:
            kinds.setdefault(body["kind"], set()).add(body["metadata"]["name"])
    for kind, names in kinds.items():
        if names != seen[kind].keys():
            found.append(f"{kind}: there are {sorted(seen[kind])} instead of {sorted(names)}")
    for body in wanted:
        if body.get("metadata", {}).get("name") in seen.get(body.get("kind", ""), {}):
            actual = seen[body["kind"]][body["metadata"]["name"]]
            found += cluster.differences(body, actual, f"{body['kind']} {body['metadata']['name']}")
    return found


def documents(file: pathlib.Path) -> list[dict[str, Any]]:
    return [body for body in yaml.safe_load_all(file.read_text()) if body] if file.exists() else []


def write(file: pathlib.Path, api: Client) -> None:
    time.sleep(1.5)  # there is nothing to wait for: whatever is there then is written down, for people to judge
    seen = cluster.seen(api)
    found = [_without_noise(one) for every in seen.values() for one in every.values()]
    empty = [kind for kind in DERIVED if not seen[kind]]
    parts = [*found, {"none": empty}] if empty else found
    file.write_text("---\n".join(yaml.safe_dump(one, sort_keys=False, width=110) for one in parts))


def _without_noise(one: Any) -> Any:
    """An object without what differs from run to run, and without what its name says already."""
    if isinstance(one, list):
        return [_without_noise(value) for value in one]
    if not isinstance(one, dict):
        return one
    if "conditions" in one.get("status", {}) and one["kind"] != "CompiledPolicy":
        one = {key: one[key] for key in ("kind", "metadata", "status")}
    if "metadata" in one:
        meta = {key: value for key, value in one["metadata"].items() if key in ("name", "namespace", "annotations")}
        one = {**one, "metadata": meta}
    return {key: _without_noise(value) for key, value in one.items() if key not in NOISE and value != {}}
