"""Counters of several CPUs in; what `seta bpf metrics list` and `seta status` tell out."""

import numpy as np

from seta_agent import settings
from seta_agent.api import metrics
from seta_agent.api.kernel import ENUMS
from seta_agent.bpf.btf import Btf
from seta_agent.monitor import decode

BTF = Btf(settings.Settings().objects / "from_container.bpf.o")
NAMES = decode.enums({name: BTF.enum(name) for name in ENUMS})
CPUS = 3
INGRESS, EGRESS = 1, 2
COUNTED = (  # reason, direction, line, file, (count, bytes) on each CPU
    (0, INGRESS, 0, 0, ((1, 60), (2, 120), (0, 0))),
    (64, EGRESS, 0, 0, ((0, 0), (1, 112), (0, 0))),
    (133, INGRESS, 142, 4, ((0, 0), (0, 0), (5, 300))),
    (133, EGRESS, 150, 4, ((1, 60), (1, 60), (1, 60))),
    (167, EGRESS, 88, 19, ((9, 540), (0, 0), (1, 60))),
    (250, EGRESS, 7, 99, ((1, 60), (0, 0), (0, 0))),
)


def counters():
    layout = BTF.maps["cilium_metrics"]
    keys, values = np.zeros(len(COUNTED), layout.key), np.zeros((len(COUNTED), CPUS), layout.value)
    for index, (*key, per_cpu) in enumerate(COUNTED):
        for field, number in zip(("reason", "dir", "line", "file"), key, strict=True):
            keys[field][index] = number
        values["count"][index], values["bytes"][index] = zip(*per_cpu, strict=True)
    return keys, values


def test_an_outcome_has_the_packets_and_bytes_of_all_cpus_and_the_monitors_words():
    told = [tuple(item.values()) for item in metrics.metrics(*counters(), NAMES)]
    assert told == [  # reason, direction, packets, bytes, line, file
        ("250", "egress", 1, 60, 7, "99"),
        ("Event lost", "egress", 1, 112, 0, ""),
        ("No mapping for NAT masquerade", "egress", 10, 600, 88, "nat_port.h"),
        ("Policy denied", "egress", 3, 180, 150, "policy.h"),
        ("Policy denied", "ingress", 5, 300, 142, "policy.h"),
        ("Success", "ingress", 3, 180, 0, ""),
    ]


def test_drops_are_told_by_reason_the_most_frequent_first_and_what_is_no_drop_is_not():
    drops = metrics.drops(*counters(), NAMES)
    assert list(drops.items()) == [("No mapping for NAT masquerade", 10), ("Policy denied", 8), ("250", 1)]
