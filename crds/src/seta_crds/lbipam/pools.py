"""A CiliumLoadBalancerIPPool as the allocation sees it. Used by the operator's subject, the preview and layout.py.

What cannot be read is told (`wrong`) and gives nothing; the rest of the pool works. Whom a selector means that cannot
be read, nobody knows: what the pool has given stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seta_crds import selectors
from seta_crds.lbipam.addresses import Address, Block, BlockError, block

NAMESPACE, NAME = "io.kubernetes.service.namespace", "io.kubernetes.service.name"  # as if they were labels


@dataclass(frozen=True)
class Pool:
    name: str
    created: str  # RFC 3339: sorts as text
    disabled: bool
    selector: selectors.Selector | None  # None: it cannot be read, and so gives to nobody and takes from nobody
    blocks: tuple[Block, ...]
    wrong: tuple[str, ...] = ()  # what is not understood, a sentence each

    @property
    def rank(self) -> tuple[str, str]:
        """The older one's addresses are given first, and count where two overlap."""
        return self.created, self.name

    @property
    def wants(self) -> str:
        """Its selector, for people."""
        return "" if self.selector is None else self.selector.text.replace("any:", "")

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether it serves a Service with these labels (`k8s:key` -> value)."""
        return self.selector is not None and self.selector.matches(labels)

    def has(self, address: Address) -> bool:
        """Whether the address is in one of its blocks."""
        return any(b.family == address.family and b.first <= address.number <= b.last for b in self.blocks)

    def gives(self, address: Address) -> bool:
        """Whether it may be given: it is not one that the pool keeps back."""
        return any(b.family == address.family and b.gives_first <= address.number <= b.gives_last for b in self.blocks)


def pool(name: str, created: str, spec: Mapping[str, Any]) -> Pool:
    """From a resource's spec."""
    wrong: list[str] = []
    blocks: list[Block] = []
    for n, raw in enumerate(spec.get("blocks") or ()):
        try:
            blocks.append(block(raw, first_and_last=spec.get("allowFirstLastIPs") != "No"))
        except BlockError as error:
            wrong.append(f"spec.blocks[{n}] {error}")
    selector: selectors.Selector | None = None
    try:
        selector = selectors.selector(_requirements(spec.get("serviceSelector") or {}))
    except selectors.SelectorError as error:
        wrong.append(f"spec.serviceSelector: {error}")
    return Pool(name, created, bool(spec.get("disabled")), selector, tuple(blocks), tuple(wrong))


def _requirements(raw: Mapping[str, Any]) -> Iterable[selectors.Requirement]:
    for key, value in (raw.get("matchLabels") or {}).items():
        yield selectors.requirement(key, "In", [value])
    for one in raw.get("matchExpressions") or ():
        yield selectors.requirement(one.get("key", ""), one.get("operator", ""), one.get("values") or ())
