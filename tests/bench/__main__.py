"""`make bench`: every measurement, one cluster set after the other, into docs/benchmarks.md.

Named sections only: `python -m tests.bench services kube_proxy_iptables`.
"""

import contextlib
import pathlib
import sys
import tempfile

from tests.bench import (
    agent,
    datapath,
    failover,
    lbipam,
    many_services,
    nodeport,
    policies,
    policy,
    policy_scale,
    report,
    service_scale,
    services,
)
from tests.bench.cluster import ROOT, cluster
from tests.netbench import build

NATIVE = ("--set", "routingMode=native", "--set", "autoDirectNodeRoutes=true")
POD_CIDRS = ("--set", "ipv4NativeRoutingCIDR=10.0.0.0/8")
KUBE_PROXY = {"kube_proxy_iptables": "iptables", "kube_proxy_nftables": "nftables"}  # section -> mode
NODE_PORT = {"nodeport": 1, "nodeport_1000": 1_000, "nodeport_10000": 10_000}  # section -> services
SECTIONS = (
    "policy_scale",
    "lbipam",
    "service_scale",
    "datapath",
    "policy",
    "agent",
    "services",
    *KUBE_PROXY,
    *NODE_PORT,
    "many_services",
    "failover",
)


def main() -> None:
    wanted = set(sys.argv[1:] or SECTIONS)
    if unknown := wanted - set(SECTIONS):
        raise SystemExit(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    page = report.Report(ROOT / "docs/benchmarks.md", ROOT / "build/bench.json")
    if "policy_scale" in wanted:
        page.add(policy_scale.measure())
    if "lbipam" in wanted:
        page.add(lbipam.measure())
    if "service_scale" in wanted:
        page.add(service_scale.measure())
    if wanted <= {"policy_scale", "lbipam", "service_scale"}:
        return
    with tempfile.TemporaryDirectory() as scratch:
        netbench = build.binary(pathlib.Path(scratch))
        if "datapath" in wanted:
            _packets(page, netbench)
        if wanted & {"services", "policy", "agent"}:
            _seta(page, netbench, wanted)
        for section, mode in KUBE_PROXY.items():
            if section in wanted:
                _kube_proxy(page, netbench, mode)
        for section, size in NODE_PORT.items():
            if section in wanted:
                _node_ports(page, netbench, size)
        if "many_services" in wanted:
            with cluster("bench-seta", *NATIVE, *POD_CIDRS) as seta:
                for part in many_services.measure(seta, netbench):
                    page.add(part)
        if "failover" in wanted:
            with cluster("bench-seta", *failover.OPTIONS) as seta:
                for part in failover.measure(seta, netbench):
                    page.add(part)


def _packets(page: report.Report, netbench: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(cluster("bench-plain", "--network", "plain"))
        native = stack.enter_context(cluster("bench-native", *NATIVE, *POD_CIDRS))
        tunnel = stack.enter_context(cluster("bench-tunnel"))
        clusters = {"kernel routing": plain, "Seta native": native, "Seta VXLAN": tunnel}
        page.add(datapath.measure(clusters, netbench))


def _seta(page: report.Report, netbench: pathlib.Path, wanted: set[str]) -> None:
    agents: list[report.Figure] = []
    with cluster("bench-seta", *NATIVE, *POD_CIDRS) as seta:
        if "policy" in wanted:
            page.add(policy.measure(seta, netbench))
            page.add(policies.measure(seta))
        if "agent" in wanted:
            agents += agent.measure("few services", seta, ("< 1 s", "< 90 MB"))
            page.add(report.Section("Agent", agent.HOW, agents))
        if "services" in wanted:
            for section in services.measure("Seta", seta, netbench):
                page.add(section)
        if {"services", "agent"} <= wanted:
            agents += agent.measure("10,000 services", seta, ("< 3 s", "< 150 MB"))
            page.add(report.Section("Agent", agent.HOW, agents))


def _kube_proxy(page: report.Report, netbench: pathlib.Path, mode: str) -> None:
    with cluster(f"bench-{mode}", "--network", "plain", "--kube-proxy", mode) as plain:
        for section in services.measure(f"kube-proxy {mode}", plain, netbench):
            page.add(section)


def _node_ports(page: report.Report, netbench: pathlib.Path, size: int) -> None:
    """A second Seta with one service stands beside many, so that the same rounds tell what their number costs."""
    with contextlib.ExitStack() as stack:
        clusters = {}
        for mode in KUBE_PROXY.values():
            plain = cluster(f"bench-{mode}", "--network", "plain", "--kube-proxy", mode)
            clusters[f"kube-proxy {mode}"] = stack.enter_context(plain)
        if size > 1:
            clusters["Seta with few services"] = stack.enter_context(cluster("bench-few", *NATIVE, *POD_CIDRS))
        clusters["Seta"] = stack.enter_context(cluster("bench-seta", *NATIVE, *POD_CIDRS))
        sizes = {label: size if label != "Seta with few services" else 1 for label in clusters}
        page.add(nodeport.measure(clusters, netbench, sizes))


if __name__ == "__main__":
    main()
