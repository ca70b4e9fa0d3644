"""Faults that a compiler could have, each planted into the reference evaluator in the compiler's place.

Used by test_generate.py: a comparison is worth what its generator finds, so it must find every one of these. A fault
replaces one function of the evaluator; its own first argument is the right one.
"""

import contextlib
import dataclasses
import typing
import unittest.mock

from tests.policy.reference import (
    cilium,
    cluster,
    evaluate,
    hosts,
    identity,
    kubernetes,
    parties,
    peers,
    selectors,
    traffic,
)
from tests.policy.reference.flows import TRANSPORTS
from tests.policy.reference.traffic import Coverage

Function = typing.Callable[..., typing.Any]
FAULTS: dict[str, tuple[typing.Any, str, Function]] = {}  # what is wrong -> module, name of a function, its replacement


@contextlib.contextmanager
def planted(fault: str) -> typing.Iterator[None]:
    """The evaluator with the fault in it."""
    module, name, wrong = FAULTS[fault]
    right = getattr(module, name)

    def instead(*arguments: typing.Any, **named: typing.Any) -> typing.Any:
        return wrong(right, *arguments, **named)

    with unittest.mock.patch.object(module, name, instead):
        yield


def _fault(says: str, module: typing.Any, name: str) -> typing.Callable[[Function], Function]:
    def register(wrong: Function) -> Function:
        FAULTS[says] = (module, name, wrong)
        return wrong

    return register


@_fault("CIDRs match pods", parties, "see")
def _cidr_pods(right: Function, *asked: typing.Any) -> parties.Seen:
    seen: parties.Seen = right(*asked)
    return dataclasses.replace(seen, cidr_address=seen.pod.address) if seen.pod else seen


@_fault("CIDRs always match nodes", parties, "_see_node")
def _cidr_nodes(right: Function, cluster: typing.Any, settings: typing.Any, *asked: typing.Any) -> typing.Any:
    return right(cluster, dataclasses.replace(settings, policy_cidr_match_mode=("nodes",)), *asked)


@_fault("CIDRs never match nodes", parties, "_see_node")
def _cidr_no_nodes(right: Function, cluster: typing.Any, settings: typing.Any, *asked: typing.Any) -> typing.Any:
    return right(cluster, dataclasses.replace(settings, policy_cidr_match_mode=()), *asked)


@_fault("the local host is a remote node", parties, "home")
def _no_home(_right: Function, _party: typing.Any) -> str:
    return ""


@_fault("the API server is nobody", cluster.Cluster, "api_servers")
def _no_api_server(_right: Function, *_: typing.Any) -> list[typing.Any]:
    return []


@_fault("unmanaged is world", cluster, "_node")
def _no_pod_network(right: Function, *asked: typing.Any) -> typing.Any:
    return dataclasses.replace(right(*asked), pod_cidrs=())


@_fault("except is ignored", peers, "in_cidr_rule")
def _no_except(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    return right({**item, "except": []}, *asked)


@_fault("except of an ipBlock is ignored", kubernetes, "_peer")
def _no_block_except(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    return right({**item, "ipBlock": {**item["ipBlock"], "except": []}} if "ipBlock" in item else item, *asked)


@_fault("groups that are selected are ignored", peers, "in_cidr_rule")
def _no_group_selectors(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    return "cidrGroupSelector" not in item and right(item, *asked)


@_fault("an empty list of peers is everybody", peers, "named")
def _empty_is_all(right: Function, rule: dict[str, typing.Any]) -> list[str]:
    return [field for field in right(rule) if rule[field]]


@_fault("an empty rule allows all", cilium, "_coverage")
def _empty_rule_is_all(
    right: Function, policy: typing.Any, item: typing.Any, *asked: typing.Any, deny: bool
) -> typing.Any:
    return right(policy, item or {"fromEntities": ["all"]}, *asked, deny=deny)


@_fault("peers reach beyond their namespace", selectors, "selects_peer")
def _no_scope(right: Function, selector: typing.Any, labels: typing.Any, _namespace: str) -> typing.Any:
    return right(selector, labels, "")


@_fault("clusterwide peers include the world", selectors, "selects_peer")
def _wide_scope(right: Function, selector: typing.Any, labels: typing.Any, namespace: str) -> typing.Any:
    return right(selector, labels, namespace) if namespace else selectors.matches(selector, labels)


@_fault("NotIn wants the label", selectors, "_holds")
def _not_in(right: Function, expression: dict[str, typing.Any], labels: typing.Any) -> bool:
    present = bool(selectors._values(labels, expression["key"]))
    return right(expression, labels) and (expression["operator"] != "NotIn" or present)


@_fault("invisible labels are seen", identity, "is_relevant")
def _see_all_labels(_right: Function, _key: str) -> bool:
    return True


@_fault("namespaceSelector is every namespace", selectors, "selects_kubernetes_peer")
def _no_namespaces(right: Function, pods: typing.Any, namespaces: typing.Any, *asked: typing.Any) -> typing.Any:
    return right(pods, None if namespaces is None else {}, *asked)


@_fault("podSelector beside a namespaceSelector is ignored", selectors, "selects_kubernetes_peer")
def _no_pods(right: Function, pods: typing.Any, namespaces: typing.Any, *asked: typing.Any) -> typing.Any:
    return right(pods if namespaces is None else {}, namespaces, *asked)


@_fault("policyTypes is ignored", kubernetes, "_directions")
def _no_types(right: Function, spec: dict[str, typing.Any]) -> typing.Any:
    return right({**spec, "policyTypes": None})


@_fault("policyTypes defaults to both", kubernetes, "_directions")
def _both_types(right: Function, spec: dict[str, typing.Any]) -> typing.Any:
    return right({"policyTypes": ["Ingress", "Egress"], **spec})


@_fault("endPort is left out", traffic, "cilium_port")
def _no_range(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    return right({**item, "endPort": 0}, *asked)


@_fault("endPort is one too far", traffic, "cilium_port")
def _long_range(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    return right({**item, "endPort": item["endPort"] + 1} if "endPort" in item else item, *asked)


@_fault("endPort of a NetworkPolicy is left out", traffic, "_kubernetes_port")
def _no_kubernetes_range(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    return right({**item, "endPort": None}, *asked)


@_fault("ANY is TCP", traffic, "cilium_port")
def _any_is_tcp(right: Function, item: dict[str, typing.Any], *asked: typing.Any) -> typing.Any:
    protocol = item.get("protocol", "ANY")
    return right({**item, "protocol": "TCP" if protocol == "ANY" else protocol}, *asked)


@_fault("every port is also ICMP", traffic, "cilium_port")
def _any_is_icmp(right: Function, item: dict[str, typing.Any], flow: typing.Any, *asked: typing.Any) -> typing.Any:
    everything = item["port"] == "0" and item.get("protocol", "ANY") == "ANY"
    return right(item, flow, *asked) or (everything and flow.protocol not in TRANSPORTS)


@_fault("a NetworkPolicy's port is for any protocol", traffic, "_kubernetes_port")
def _no_default_protocol(right: Function, item: typing.Any, flow: typing.Any, *asked: typing.Any) -> typing.Any:
    return right({"protocol": flow.protocol, **item}, flow, *asked)


@_fault("named ports at egress are not resolved", cilium, "_destination")
def _no_egress_names(right: Function, question: typing.Any) -> typing.Any:
    return right(question) if question.direction == "ingress" else None


@_fault("named ports forget the protocol", traffic, "has_named_port")
def _names_alone(_right: Function, name: str, flow: typing.Any, pod: typing.Any) -> bool:
    return any((each.name, each.port) == (name, flow.port) for each in (pod.named_ports if pod else ()))


@_fault("ICMP types are all one", traffic, "_icmp_rule")
def _one_type(_right: Function, _item: typing.Any, flow: typing.Any) -> Coverage:
    return Coverage.FULL if flow.protocol == "ICMP" else Coverage.NONE


@_fault("deny loses to allow", evaluate, "_rules")
def _allow_first(right: Function, answers: typing.Any, *, deny: bool, coverage: Coverage) -> typing.Any:
    return (
        () if deny and right(answers, deny=False, coverage=coverage) else right(answers, deny=deny, coverage=coverage)
    )


@_fault("a deny section does not close", cilium, "default_deny")
def _deny_does_not_close(right: Function, rule: typing.Any, direction: str) -> typing.Any:
    return right({**rule, f"{direction}Deny": []}, direction)


@_fault("enableDefaultDeny is ignored", cilium, "default_deny")
def _no_default_deny(right: Function, rule: typing.Any, direction: str) -> typing.Any:
    return right({**rule, "enableDefaultDeny": {}}, direction)


@_fault("nodes are closed in mode always", evaluate, "_always")
def _always(_right: Function, question: typing.Any) -> bool:
    return bool(question.settings.policy_enforcement_mode == "always")


@_fault("the local host needs a rule", evaluate, "_local_host")
def _no_local_host(_right: Function, *_: typing.Any) -> None:
    return None


@_fault("host policies may cut off the API server", hosts, "essential")
def _no_essentials(_right: Function, _question: typing.Any) -> None:
    return None


@_fault("pods on the host's network are pods", parties, "_network_namespace")
def _host_network(_right: Function, _cluster: typing.Any, pod: typing.Any) -> typing.Any:
    return pod


@_fault("toNodes means the local host too", peers, "is_node")
def _all_nodes(_right: Function, selector: typing.Any, seen: typing.Any) -> bool:
    return seen.node_labels is not None and selectors.matches_plain(selector, seen.node_labels)


@_fault("services stand for pods of every namespace", peers, "_stands_for")
def _wide_services(right: Function, service: typing.Any, seen: typing.Any, *asked: typing.Any) -> typing.Any:
    wide = bool(service.selector) and selectors.matches({"matchLabels": service.selector}, seen.labels)
    return wide or right(service, seen, *asked)


@_fault("services without a selector stand for nobody", peers, "_stands_for")
def _no_slices(right: Function, service: typing.Any, *asked: typing.Any) -> typing.Any:
    return bool(service.selector) and right(service, *asked)


@_fault("layer 7 rules are not looked at", traffic, "_port_rule")
def _no_layer7(right: Function, *asked: typing.Any) -> Coverage:
    return Coverage.FULL if right(*asked) else Coverage.NONE


@_fault("authentication is not looked at", traffic, "covers")
def _no_authentication(right: Function, rule: typing.Any, *asked: typing.Any) -> typing.Any:
    return right({**rule, "authentication": None}, *asked)
