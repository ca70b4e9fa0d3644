"""Writes the CustomResourceDefinitions: `python -m seta_crds.generate [DIRECTORY]`.

The models are the truth; the manifests are committed, and a test regenerates and compares them.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from seta_crds import schema
from seta_crds.base import Column, Resource
from seta_crds.cidrgroup import CiliumCIDRGroup
from seta_crds.compiledpolicy import CompiledPolicy
from seta_crds.endpoint import CiliumEndpoint
from seta_crds.endpointslice import CiliumEndpointSlice
from seta_crds.identity import CiliumIdentity
from seta_crds.ippool import CiliumLoadBalancerIPPool
from seta_crds.l2policy import CiliumL2AnnouncementPolicy
from seta_crds.networkpolicy import CiliumClusterwideNetworkPolicy, CiliumNetworkPolicy
from seta_crds.node import CiliumNode
from seta_crds.nodeannouncements import NodeAnnouncements
from seta_crds.nodepolicystatus import NodePolicyStatus
from seta_crds.selectorset import SelectorSet
from seta_crds.servicetable import ServiceTable

JSON = dict[str, Any]
RESOURCES: tuple[type[Resource], ...] = (
    CiliumNetworkPolicy,
    CiliumClusterwideNetworkPolicy,
    CiliumCIDRGroup,
    CiliumLoadBalancerIPPool,
    CiliumL2AnnouncementPolicy,
    CiliumIdentity,
    CiliumNode,
    CiliumEndpoint,
    CiliumEndpointSlice,
    ServiceTable,
    CompiledPolicy,
    SelectorSet,
    NodeAnnouncements,
    NodePolicyStatus,
)
_COMMON = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
DEFAULT_DIRECTORY = Path(__file__).parents[3] / "deploy/chart/crds"
HEADER = "# Generated from the models in crds/ by `python -m seta_crds.generate`; edits are lost.\n"


def manifest(resource: type[Resource]) -> JSON:
    """The CustomResourceDefinition of one model."""
    crd, kind = resource.crd, resource.crd.kind
    version: JSON = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(resource)},
    }
    if crd.status:
        version["subresources"] = {"status": {}}
    if crd.columns:
        version["additionalPrinterColumns"] = [_column(column) for column in crd.columns]
    names: JSON = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
    }
    if crd.short_names:
        names["shortNames"] = list(crd.short_names)
    if crd.categories:
        names["categories"] = list(crd.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "seta"}},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version, *({**version, "name": name, "storage": False} for name in crd.also_served)],
        },
    }


def _object_schema(resource: type[Resource]) -> JSON:
    result = schema.structural(resource.model_json_schema(by_alias=True))
    # The API server knows these three better than we do.
    result["required"] = [name for name in result["required"] if name not in _COMMON] or None
    result = {key: value for key, value in result.items() if value is not None}
    result["properties"] |= _COMMON
    return result


def _column(column: Column) -> JSON:
    result: JSON = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        result["priority"] = column.priority
    return result


class _Plain(yaml.SafeDumper):
    """Writes repeated parts out instead of as anchors: every tool can read it, people too."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - yaml's signature
        return True


def render() -> dict[str, str]:
    """File name -> content, of every manifest."""
    return {
        f"{resource.crd.kind.plural}.yaml": HEADER
        + yaml.dump(manifest(resource), Dumper=_Plain, sort_keys=False, width=110)
        for resource in RESOURCES
    }


def main() -> None:
    """Write them, and remove manifests of resources that are no more."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    wanted = render()
    for stale in (path for path in directory.glob("*.yaml") if path.name not in wanted):
        stale.unlink()
    for name, content in wanted.items():
        (directory / name).write_text(content)


if __name__ == "__main__":
    main()
