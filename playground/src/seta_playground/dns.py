"""The cluster's DNS: CoreDNS as a Deployment behind the address that every kubelet tells its pods.

Called by up.py once the API server answers. The manifest is in manifests/coredns.yaml.
"""

from pathlib import Path

from seta_playground import plan, versions

TEMPLATE = Path(__file__).parent / "manifests" / "coredns.yaml"


def manifest() -> str:
    values = {  # placeholder -> value
        "@IMAGE@": versions.coredns_image(),
        "@ADDRESS@": plan.DNS_ADDRESS,
        "@DOMAIN@": plan.CLUSTER_DOMAIN,
        "@WORLD@": f"{plan.WORLD_ADDRESS} {plan.WORLD}",
    }
    text = TEMPLATE.read_text()
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
