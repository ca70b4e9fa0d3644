"""ServiceTables and LB maps as lines that people can write down.

Numbers are left out: what has one is shown by what it stands for, and that they agree with each other is asserted
here. So the lines do not hang on the order in which things came.
"""

import ipaddress

import numpy as np

from seta_agent.desired import lb, lbfrontends
from seta_agent.desired.encode import PROTOCOLS

PROTOCOL = {number: name for name, number in PROTOCOLS.items()}
STATE = {number: name for name, number in lb.STATES.items()}
FLAGS = {
    0x1: "ExternalIPs",
    0x2: "NodePort",
    0x8: "HostPort",
    0x20: "LoadBalancer",
    lbfrontends.ROUTABLE: "routable",
    lbfrontends.LOOPBACK: "loopback",
    lbfrontends.EXT_LOCAL: "ext-local",
    lbfrontends.INT_LOCAL: "int-local",
    lbfrontends.TWO_SCOPES: "two-scopes",
    lbfrontends.AFFINITY: "affinity",
    lbfrontends.SOURCE_RANGE: "ranges",
    lbfrontends.RANGES_DENY: "deny",
    lbfrontends.DSR: "dsr",
}
TYPES = 0x1 | 0x2 | 0x8 | 0x20


def table(body):
    """Lines of a ServiceTable: what concerns all of it, then its ports."""
    spec = body["spec"]
    options = {key: value for key, value in spec.items() if key not in {"type", "ports"}}
    texts = [f"{key}={','.join(value) if isinstance(value, list) else value}" for key, value in options.items()]
    yield " ".join([spec["type"], *texts])
    for port in spec["ports"]:
        fronts = ", ".join(f"{one['type']} {_at(one['address'], one['port'])}" for one in port["frontends"])
        backends = ", ".join(map(_backend, port["backends"]))
        yield f"{port['name'] or '-'}/{port['protocol']}: {fronts or '-'} => {backends or '-'}"


def numbers(tables):
    """Frontend -> number, in all tables; no number twice."""
    found = {
        (front["address"], front["port"], port["protocol"]): front["id"]
        for body in tables
        for port in body["spec"]["ports"]
        for front in port["frontends"]
    }
    assert len(set(found.values())) == len(found), f"numbers are given twice: {found}"
    return found


def maps(kernel):
    """Lines of a node's maps, of both families."""
    families = [_Family(kernel, names) for names in lb.FAMILIES]
    for key, _ in kernel.rows(lb.AFFINITY_MATCH):
        whose = [one for one in families if int(key["backend_id"]) in one.backends]
        assert [int(key["rev_nat_id"]) in one.reverse for one in whose] == [True], f"{key} is nobody's"
    for one in families:
        yield from one.lines()


class _Family:
    def __init__(self, kernel, names):
        self.kernel, self.names = kernel, names
        backends = kernel.rows(names.backends)
        self.backends = {int(key): _at(_address(row, "address"), row["port"], row["proto"]) for key, row in backends}
        self.states = {self.backends[int(key)]: STATE[int(row["flags"])] for key, row in backends}
        assert len(self.states) == len(self.backends), "a backend has two numbers"
        reverse = kernel.rows(names.reverse)
        self.reverse = {int(key): _at(_address(row, "address"), row["port"]) for key, row in reverse}
        assert len(set(self.reverse)) == len(self.reverse)
        self.fronts = {}  # reverse NAT index -> the front

    def lines(self):
        rows = self.kernel.rows(self.names.services)
        yield from sorted(self._front(key, row, rows) for key, row in rows if key["backend_slot"] == 0)
        assert self.fronts.keys() == {int(row["rev_nat_index"]) for _, row in rows}
        yield from sorted(f"unused: {self.reverse[number]}" for number in self.reverse.keys() - self.fronts.keys())
        yield from sorted(f"keeps {at}: {_listed(found)}" for at, found in self._matches().items())
        yield from sorted(f"range {at}: {_listed(found)}" for at, found in self._ranges().items())
        yield from sorted(f"maglev {at}: {_listed(found)}" for at, found in self._tables().items())
        if self.states:
            yield "backends: " + _listed(
                at if state == "active" else f"{at} {state}" for at, state in self.states.items()
            )

    def _front(self, key, row, rows):
        number = int(row["rev_nat_index"])
        at = _at(_address(key, "address"), key["dport"], key["proto"])
        back = f"{self.reverse[number]}/{PROTOCOL[int(key['proto'])]}"
        assert self.fronts.setdefault(number, back) == back, f"{number} is of several frontends"
        flags = int(row["flags"]) | int(row["flags2"]) << 8
        words = [word for bit, word in FLAGS.items() if flags & bit]
        words = words if flags & TYPES else ["ClusterIP", *words]
        assert not flags & ~sum(FLAGS), f"flags {flags:x}"
        seconds, algorithm = int(row["backend_id"]) & 0xFFFFFF, int(row["backend_id"]) >> 24
        words += [f"{seconds}s"] if seconds else []
        words += {0: [], 2: ["maglev"]}[algorithm]
        slots = self._slots(key, rows)
        used, further = slots[: row["count"]], slots[row["count"] :]
        assert len(further) == row["qcount"], f"{at} has {len(slots)} slots"
        tail = f" + {', '.join(further)}" if further else ""
        place = f"{at}{'/i' if key['scope'] else ''}{'' if back == at else f' (as {back})'}"
        return f"{place} [{' '.join(words)}] => {', '.join(used) or '-'}{tail}"

    def _slots(self, front, rows):
        """The backends of its slots, in order."""
        found = {}
        for key, row in rows:
            same = all(np.array_equal(key[field], front[field]) for field in ("address", "dport", "proto", "scope"))
            if same and key["backend_slot"]:
                found[int(key["backend_slot"])] = self.backends[int(row["backend_id"])].rpartition("/")[0]
        assert sorted(found) == list(range(1, len(found) + 1)), "slots are numbered without a gap"
        return [found[slot] for slot in sorted(found)]

    def _matches(self):
        found = {}
        for key, _ in self.kernel.rows(lb.AFFINITY_MATCH):
            if int(key["backend_id"]) in self.backends:
                at = self.fronts[int(key["rev_nat_id"])] + ("/i" if key["scope"] else "")
                found.setdefault(at, []).append(self.backends[int(key["backend_id"])])
        return found

    def _ranges(self):
        found = {}
        for key, value in self.kernel.rows(self.names.ranges):
            assert value == 1
            network = ipaddress.ip_network((_address(key, "addr"), int(key["prefixlen"]) - 32))
            found.setdefault(self.fronts[int(key["rev_nat_id"])], []).append(str(network))
        return found

    def _tables(self):
        found = {}
        for key, table in self.kernel.tables[self.names.maglev].items():
            ids, counts = np.unique(np.frombuffer(table.content, np.uint32), return_counts=True)
            assert counts.max() - counts.min() <= 1, "shares are equal"
            found[self.fronts[int.from_bytes(key, "big")]] = [self.backends[int(one)] for one in ids]
        return found


def _backend(one):
    state = "" if one["state"] == "active" else f" {one['state']}"
    hints = "".join(
        f" {word}={','.join(one[key])}" for key, word in (("zones", "for"), ("nodes", "for")) if one.get(key)
    )
    zone = f"/{one['zone']}" if one.get("zone") else ""
    return f"{_at(one['address'], one['port'])} {one['node'] or '-'}{zone}{state}{hints}"


def _address(row, field):
    return str(lb.addresses(np.array([row], row.dtype), field)[0])


def _at(address, port, protocol=None):
    place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return place if protocol is None else f"{place}/{PROTOCOL[int(protocol)]}"


def _listed(found):
    return ", ".join(sorted(found))
