"""The compiler's part about address ranges: CIDRs, ranges with exceptions, and groups. Pure.

Used by compile_peers, and by compile_networkpolicy for its ipBlocks.
"""

import ipaddress
from collections.abc import Sequence

from seta_crds.policy_peers import CIDRRule
from seta_operator.services import compile_selectors
from seta_operator.services.problems import Problem
from seta_operator.services.setspec import CIDRSet, GroupSet, SetSpec

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NO_CIDR = "is no CIDR: write an address and a prefix length, as in 10.0.0.0/8"
EXACTLY_ONE = "cidr, cidrGroupRef and cidrGroupSelector"


def plain(wanted: Sequence[str], path: str) -> tuple[list[SetSpec], list[Problem]]:
    """fromCIDR, toCIDR: an address alone is itself."""
    found: list[SetSpec] = []
    problems: list[Problem] = []
    for n, text in enumerate(wanted):
        network = parsed(text)
        if network is None:
            problems.append(Problem(f"{path}[{n}]", f"{text} {NO_CIDR}"))
        else:
            found.append(CIDRSet(str(network)))
    return found, problems


def rules(wanted: Sequence[CIDRRule], path: str) -> tuple[list[SetSpec], list[Problem]]:
    """fromCIDRSet, toCIDRSet."""
    found: list[SetSpec] = []
    problems: list[Problem] = []
    for n, rule in enumerate(wanted):
        one, wrong = _rule(rule, f"{path}[{n}]")
        found += one
        problems += wrong
    return found, problems


def block(cidr: str, excepts: Sequence[str], path: str) -> tuple[list[SetSpec], list[Problem]]:
    """A range with exceptions; both must have a prefix length, and the exceptions must lie inside."""
    network = parsed(cidr)
    if network is None:
        return [], [Problem(f"{path}.cidr", f"{cidr} {NO_CIDR}")]
    if "/" not in cidr:
        return [], [Problem(f"{path}.cidr", f"{cidr} has no prefix length: write {network}")]
    left_out: set[Network] = set()
    problems: list[Problem] = []
    for n, text in enumerate(excepts):
        inner = parsed(text)
        if inner is None:
            problems.append(Problem(f"{path}.except[{n}]", f"{text} {NO_CIDR}"))
        elif not _inside(inner, network):
            problems.append(Problem(f"{path}.except[{n}]", f"{text} is not inside cidr {cidr}"))
        else:
            left_out.add(inner)
    ordered = sorted(left_out, key=lambda one: (one.network_address.packed, one.prefixlen))
    return [CIDRSet(str(network), tuple(map(str, ordered)))], problems


def parsed(text: str) -> Network | None:
    """The range with its host bits cleared, or None where it is none."""
    if "%" in text:  # an address of one link is no range of the cluster's network
        return None
    address, slash, length = text.partition("/")
    if slash and not (length.isascii() and length.isdecimal()):
        return None  # 10.0.0.0/255.0.0.0
    try:
        return ipaddress.ip_network(f"{address}{slash}{length}", strict=False)
    except ValueError:
        return None


def _rule(rule: CIDRRule, path: str) -> tuple[list[SetSpec], list[Problem]]:
    given = [
        name
        for name, value in (
            ("cidr", rule.cidr),
            ("cidrGroupRef", rule.cidr_group_ref),
            ("cidrGroupSelector", rule.cidr_group_selector),
        )
        if value not in (None, "")
    ]
    if not given:
        return [], [Problem(path, f"has none of {EXACTLY_ONE}: write exactly one")]
    if len(given) > 1:
        return [], [Problem(path, f"has {' and '.join(given)}: write exactly one of {EXACTLY_ONE}")]
    if rule.cidr:
        return block(rule.cidr, rule.except_ or [], path)
    if rule.except_:
        wrong = "is for cidr only: take the range out of the group, or write its cidr"
        return [], [Problem(f"{path}.except", wrong)]
    if rule.cidr_group_selector is None:
        return [GroupSet(ref=rule.cidr_group_ref or "")], []
    selector, problems = compile_selectors.plain(rule.cidr_group_selector, f"{path}.cidrGroupSelector")
    return [GroupSet(selector=selector)], problems


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer
