"""Every policy of tests/policy/bad is refused with its sentence: by the API server, or by the operator's condition.

And none of them disturbs what is there already: other policies stay written as they were.
"""

from typing import Any

import pytest

from seta_crds import names
from tests.api.client import KINDS, Client, RefusedError
from tests.api.controlplane import Operator, eventually
from tests.policy import catalogue
from tests.policy.catalogue import BadPolicy

BAD = catalogue.bad_policies()
BY_SCHEMA = [bad for bad in BAD if bad.refused_by == "schema"]
BY_CONDITION = [bad for bad in BAD if bad.refused_by == "condition"]
GOOD = catalogue.policy(
    "cnp default/good",
    {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "front"}}]}, {"fromCIDR": ["192.0.2.0/24"]}],
    },
)


def create(api: Client, body: dict[str, Any], *, dry_run: bool = False) -> None:
    """As `kubectl create` and the first `kubectl apply` do."""
    kind = KINDS[body["kind"]]
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
    api.request("POST", kind.path(body["metadata"].get("namespace", "")) + query, body)


@pytest.mark.parametrize("bad", BY_SCHEMA, ids=lambda bad: bad.name)
def test_the_api_server_refuses(bad: BadPolicy, api: Client) -> None:
    with pytest.raises(RefusedError) as told:
        create(api, bad.policy, dry_run=True)
    assert bad.says in str(told.value)


def test_the_condition_tells_what_to_change_and_nothing_else_is_disturbed(api: Client, operator: Operator) -> None:
    create(api, GOOD)
    eventually(lambda: valid(api, GOOD) is not None, 10, "the good policy has its condition")
    before = written_for(api, GOOD)
    for bad in BY_CONDITION:
        create(api, bad.policy)
    eventually(lambda: all(valid(api, bad.policy) for bad in BY_CONDITION), 20, "every policy has its condition")
    told = {bad.name: valid(api, bad.policy) or {} for bad in BY_CONDITION}
    wrong = [f"{bad.name}: {told[bad.name]}" for bad in BY_CONDITION if not is_told(bad, told[bad.name])]
    assert not wrong
    assert (valid(api, GOOD) or {})["status"] == "True"
    assert written_for(api, GOOD) == before


def is_told(bad: BadPolicy, condition: dict[str, Any]) -> bool:
    return condition["status"] == "False" and bad.says in condition["message"]


def valid(api: Client, body: dict[str, Any]) -> dict[str, Any] | None:
    """The condition Valid of a policy, once there is one."""
    metadata = body["metadata"]
    found = api.get(KINDS[body["kind"]], metadata["name"], metadata.get("namespace", ""))
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Valid"), None)


def written_for(api: Client, body: dict[str, Any]) -> tuple[str, list[str]]:
    """Versions of what the operator wrote for a policy: changed, where it was written again."""
    name = f"cnp.{body['metadata']['namespace']}.{body['metadata']['name']}"
    found = api.get(names.COMPILED_POLICY, name)
    rule = found["spec"]["rules"][0]
    sets = [rule["subject"], *(peer for entry in rule["ingress"]["entries"] for peer in entry["peers"])]
    version = found["metadata"]["resourceVersion"]
    return version, [api.get(names.SELECTOR_SET, one)["spec"]["selector"] for one in sets]
