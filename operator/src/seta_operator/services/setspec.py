"""What a selector set is of: the closed list of ways in which a policy names its subjects and peers.

The compiler makes them (`Compiled.specs`: set name -> spec), selectorsets finds out who belongs to each. Two specs that
mean the same have one text, and so one set that all policies share.
"""

import hashlib
from dataclasses import dataclass

from seta_crds.selectors import Selector


class _Named:
    """By its canonical text, which is also what `spec.selector` of the SelectorSet says."""

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def set_name(self) -> str:
        """Name of the SelectorSet."""
        return f"ss-{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class LabelSet(_Named):
    """Identities whose labels match; pods, and with reserved: labels also what is no pod."""

    selector: Selector

    @property
    def text(self) -> str:
        """As kubectl writes selectors."""
        return self.selector.text


@dataclass(frozen=True)
class EntitySet(_Named):
    """One of the reserved kinds: world, cluster, host, remote-node, kube-apiserver, init, unmanaged, health, ingress.

    Never all (which is any peer) or none (no set at all).
    """

    name: str

    @property
    def text(self) -> str:
        """entity:world."""
        return f"entity:{self.name}"


@dataclass(frozen=True)
class CIDRSet(_Named):
    """Identities of the prefixes inside `cidr` and in none of `excepts`. Canonical: host bits cleared, sorted."""

    cidr: str
    excepts: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Every prefix that needs an identity of its own."""
        return (self.cidr, *self.excepts)

    @property
    def text(self) -> str:
        """cidr:10.0.0.0/8 except 10.1.0.0/16,10.2.0.0/16."""
        return f"cidr:{self.cidr}" + (f" except {','.join(self.excepts)}" if self.excepts else "")


@dataclass(frozen=True)
class GroupSet(_Named):
    """Prefixes of the CiliumCIDRGroup of that name, or of every group whose labels match. Exactly one is given.

    The labels of a group have no source: match `selector` against them as `k8s:<key>`.
    """

    ref: str = ""
    selector: Selector | None = None

    @property
    def text(self) -> str:
        """cidrgroup:partners, or cidrgroups:k8s:trust=own."""
        return f"cidrgroup:{self.ref}" if self.selector is None else f"cidrgroups:{self.selector.text}"


@dataclass(frozen=True)
class ServiceSet(_Named):
    """Who stands behind services: by name, or by the service's labels (as `k8s:<key>`). Exactly one is given.

    `namespace` "" is every namespace. Behind a service with a selector are the pods of its namespace that match it;
    behind one without, the addresses of its EndpointSlices, as CIDRs.
    """

    namespace: str = ""
    name: str = ""
    selector: Selector | None = None

    @property
    def text(self) -> str:
        """service:shop/db or service:*/db, or services:shop/k8s:tier=inner."""
        where = self.namespace or "*"
        return f"service:{where}/{self.name}" if self.selector is None else f"services:{where}/{self.selector.text}"


@dataclass(frozen=True)
class NodeSet(_Named):
    """Other nodes by the labels of the Node object (as `k8s:<key>`): node identities, never the local host."""

    selector: Selector

    @property
    def text(self) -> str:
        """node:k8s:pool=fast."""
        return f"node:{self.selector.text}"


SetSpec = LabelSet | EntitySet | CIDRSet | GroupSet | ServiceSet | NodeSet
