"""The table of bad policies is one that a test against an API server can use: manifests, and sentences that help."""

import re

import pytest

from tests.policy import catalogue
from tests.policy.catalogue import BadPolicy

BAD = catalogue.bad_policies()
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    names = {(each.policy["kind"], each.policy["metadata"]["name"]) for each in BAD}
    assert len(names) == len(BAD) >= 60


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_policy_could_be_applied(bad: BadPolicy) -> None:
    assert NAME.fullmatch(bad.policy["metadata"]["name"])
    assert bad.policy["apiVersion"] in {"cilium.io/v2", "networking.k8s.io/v1"}
    assert bad.refused_by in {"schema", "condition"}


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.refused_by == "condition"], ids=lambda bad: bad.name)
def test_a_condition_is_of_a_policy_that_has_one_and_names_the_field(bad: BadPolicy) -> None:
    assert bad.policy["kind"] in {"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"}
    assert bad.says.startswith(("spec", "label source"))
