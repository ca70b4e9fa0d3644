"""What of a Service is to be announced, and where it may be: rules and Services in, wishes out. Pure; used by l2.py."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seta_operator.services import frontends
from seta_operator.services.l2_rules import Rule
from seta_operator.store import facts
from seta_operator.store.table import Key

CLASS = "io.cilium/l2-announcer"  # the loadBalancerClass that asks for us


@dataclass(frozen=True, slots=True)
class Wish:
    """A Service that some rule announces."""

    addresses: Mapping[str, tuple[str, ...]]  # address -> names of the rules that announce it, sorted
    nodes: frozenset[str] | None = None  # the only ones that may: they have a backend; None: any


def of(
    key: Key,
    service: facts.Service,
    rules: Mapping[str, Rule],
    slices: Iterable[facts.EndpointSlice],
    proxy_name: str = "",
) -> Wish | None:
    """The wish of a Service; None where nothing of it is announced."""
    if not frontends.is_served(service, proxy_name) or service.load_balancer_class not in (None, CLASS):
        return None
    outer = frontends.outer(service)
    if not outer:
        return None
    labels = _labels(key, service)
    addresses: dict[str, list[str]] = {}
    for name, rule in sorted(rules.items()):
        if rule.types and rule.services is not None and rule.services.matches(labels):
            for address, types in outer.items():
                if types & rule.types:
                    addresses.setdefault(address, []).append(name)
    if not addresses:
        return None
    nodes = _local(slices) if service.external_local else None
    return Wish({address: tuple(names) for address, names in sorted(addresses.items())}, nodes)


def _labels(key: Key, service: facts.Service) -> dict[str, str]:
    """As selectors see them: with two that tell which one it is."""
    found = {f"k8s:{name}": value for name, value in service.labels.items()}
    return found | {"k8s:io.kubernetes.service.namespace": key[0], "k8s:io.kubernetes.service.name": key[1]}


def _local(slices: Iterable[facts.EndpointSlice]) -> frozenset[str]:
    """Nodes with a backend that is ready; while there is none anywhere, those with one that ends but serves."""
    endpoints = [endpoint for piece in slices for endpoint in piece.endpoints if endpoint.node]
    ready = frozenset(endpoint.node for endpoint in endpoints if endpoint.ready)
    return ready or frozenset(one.node for one in endpoints if one.terminating and one.serving)
