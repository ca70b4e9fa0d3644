"""`make bench`: every measurement, one cluster set after the other, into docs/benchmarks.md.

Named sections only: `python -m tests.bench services kube_proxy_iptables`. One that fails costs the others nothing; the
run then ends with its name and exit code 1.
"""

import contextlib
import functools
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Callable

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
Measure = Callable[[report.Report, pathlib.Path], None]  # where the figures go, the netbench program


def main() -> None:
    sections = _sections()
    wanted = sys.argv[1:] or list(sections)
    if unknown := set(wanted) - set(sections):
        raise SystemExit(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    page = report.Report(ROOT / "docs/benchmarks.md", ROOT / "build/bench.json")
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        netbench = build.binary(pathlib.Path(scratch))
        for section in wanted:
            try:
                sections[section](page, netbench)
            except Exception:  # noqa: BLE001 - whatever it was, the other sections are worth having
                traceback.print_exc()
                failed.append(section)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


def _sections() -> dict[str, Measure]:
    """Section -> what measures it, in the order of a whole run."""
    return {
        "policy_scale": lambda page, _: page.add(policy_scale.measure()),
        "lbipam": lambda page, _: page.add(lbipam.measure()),
        "service_scale": lambda page, _: page.add(service_scale.measure()),
        "datapath": _packets,
        "policy": _policy,
        "services": _services,
        **{name: functools.partial(_kube_proxy, mode) for name, mode in KUBE_PROXY.items()},
        **{name: functools.partial(_node_ports, size) for name, size in NODE_PORT.items()},
        "many_services": _many_services,
        "failover": _failover,
    }


def _packets(page: report.Report, netbench: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(cluster("bench-plain", "--network", "plain"))
        native = stack.enter_context(cluster("bench-native", *NATIVE, *POD_CIDRS))
        tunnel = stack.enter_context(cluster("bench-tunnel"))
        clusters = {"kernel routing": plain, "Seta native": native, "Seta VXLAN": tunnel}
        page.add(datapath.measure(clusters, netbench))


def _policy(page: report.Report, netbench: pathlib.Path) -> None:
    with cluster("bench-seta", *NATIVE, *POD_CIDRS) as seta:
        page.add(policy.measure(seta, netbench))
        page.add(policies.measure(seta))


def _services(page: report.Report, netbench: pathlib.Path) -> None:
    """And what the agent costs, before there are services and when there are the most."""
    with cluster("bench-seta", *NATIVE, *POD_CIDRS) as seta:
        figures = agent.measure("few services", seta, ("< 1 s", "< 90 MB"))
        for section in services.measure("Seta", seta, netbench):
            page.add(section)
        figures += agent.measure("10,000 services", seta, ("< 3 s", "< 150 MB"))
        page.add(report.Section("Agent", agent.HOW, figures))


def _kube_proxy(mode: str, page: report.Report, netbench: pathlib.Path) -> None:
    with cluster(f"bench-{mode}", "--network", "plain", "--kube-proxy", mode) as plain:
        for section in services.measure(f"kube-proxy {mode}", plain, netbench):
            page.add(section)


def _node_ports(size: int, page: report.Report, netbench: pathlib.Path) -> None:
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


def _many_services(page: report.Report, netbench: pathlib.Path) -> None:
    with cluster("bench-seta", *NATIVE, *POD_CIDRS) as seta:
        for part in many_services.measure(seta, netbench):
            page.add(part)


def _failover(page: report.Report, netbench: pathlib.Path) -> None:
    with cluster("bench-seta", *failover.OPTIONS) as seta:
        for part in failover.measure(seta, netbench):
            page.add(part)


if __name__ == "__main__":
    main()
