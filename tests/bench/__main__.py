"""`make bench`: every measurement, one cluster set after the other, into docs/benchmarks.md.

Named sections only: `python -m tests.bench datapath services policy agent`.
"""

import contextlib
import pathlib
import sys
import tempfile

from tests.bench import agent, datapath, policy, report, services
from tests.bench.cluster import ROOT, cluster
from tests.netbench import build

NATIVE = ("--set", "routingMode=native", "--set", "autoDirectNodeRoutes=true")
POD_CIDRS = ("--set", "ipv4NativeRoutingCIDR=10.0.0.0/8")


def main() -> None:
    wanted = sys.argv[1:] or ["datapath", "services", "policy", "agent"]
    sections: list[report.Section] = []
    with tempfile.TemporaryDirectory() as scratch:
        netbench = build.binary(pathlib.Path(scratch))
        if "datapath" in wanted:
            sections += _packets(netbench)
        if {"services", "policy", "agent"} & set(wanted):
            sections += _seta(netbench, wanted)
        if "services" in wanted:
            sections += _kube_proxy(netbench)
    report.write(ROOT / "docs/benchmarks.md", sections)


def _packets(netbench: pathlib.Path) -> list[report.Section]:
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(cluster("bench-plain", "--network", "plain"))
        native = stack.enter_context(cluster("bench-native", *NATIVE, *POD_CIDRS))
        tunnel = stack.enter_context(cluster("bench-tunnel"))
        clusters = {"kernel routing": plain, "Seta native": native, "Seta VXLAN": tunnel}
        return [datapath.measure(clusters, netbench)]


def _seta(netbench: pathlib.Path, wanted: list[str]) -> list[report.Section]:
    sections: list[report.Section] = []
    agents: list[report.Figure] = []
    with cluster("bench-seta", *NATIVE, *POD_CIDRS) as seta:
        if "policy" in wanted:
            sections.append(policy.measure(seta, netbench))
        if "agent" in wanted:
            agents += agent.measure("few services", seta, ("< 1 s", "< 90 MB"))
        if "services" in wanted:
            sections.append(services.measure("Seta", seta, netbench))
        if {"services", "agent"} <= set(wanted):
            agents += agent.measure("10,000 services", seta, ("< 3 s", "< 150 MB"))
    if agents:
        sections.append(report.Section("Agent", "Restarted on a node with pods; the kubelet starts it again.", agents))
    return sections


def _kube_proxy(netbench: pathlib.Path) -> list[report.Section]:
    sections = []
    for mode in ("iptables", "nftables"):
        with cluster(f"bench-{mode}", "--network", "plain", "--kube-proxy", mode) as plain:
            sections.append(services.measure(f"kube-proxy {mode}", plain, netbench))
    return sections


if __name__ == "__main__":
    main()
