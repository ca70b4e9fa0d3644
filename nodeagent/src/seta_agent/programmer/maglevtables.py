"""The Maglev tables of one family's services: one inner map each, found by reverse NAT index. Called by `services`.

A table is computed and filled before the datapath finds it, and takes the place of the old one in one step. Until a
service has one, the datapath chooses among its slots; a backend that is gone but still in a table is chosen anew.
So tables may follow later than slots, some at a time, and after a restart they are simply made again.
"""

import base64
from collections.abc import Mapping

from seta_agent.bpf.maps import Map
from seta_agent.desired import maglev
from seta_agent.desired.lbids import BackendIds, Owner
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.settings import Settings

INNER = "cilium_maglev_inner"
Members = tuple[int, ...]  # ids of backends, in the service's order


class MaglevTables:
    """Owns the outer map."""

    def __init__(self, settings: Settings, maps: KernelMaps, name: str, ids: BackendIds) -> None:
        self._size = settings.bpf_lb_maglev_table_size
        self._seed = base64.b64decode(settings.bpf_lb_maglev_hash_seed)
        self._ids = ids
        self._maps = maps
        self._outer = maps.outer(name)
        self._of: dict[Owner, Mapping[int, Members]] = {}  # owner -> its tables
        self._wanted: dict[int, tuple[Owner, Members]] = {}  # reverse NAT index -> whose, and the backends
        self._made: dict[int, Members] = {}  # reverse NAT index -> backends of the table that we installed
        self._due: dict[int, None] = {}  # indices to look at, in order
        self._complete = False

    @property
    def pending(self) -> bool:
        return bool(self._due)

    def set(self, owner: Owner, tables: Mapping[int, Members]) -> None:
        """All tables of an owner."""
        before = self._of.pop(owner, {})
        if tables:
            self._of[owner] = tables
        for number in before.keys() - tables.keys():
            if self._wanted[number][0] == owner:  # else it has changed hands
                del self._wanted[number]
                self._due[number] = None
        for number, members in tables.items():
            if self._wanted.get(number) != (owner, members):
                self._wanted[number] = owner, members
                self._due[number] = None

    def complete(self) -> None:
        """Every service has been listed: tables of nobody may go."""
        if not self._complete:
            self._complete = True
            self._due.update(dict.fromkeys(map(_number, self._outer.installed)))

    def read(self) -> None:
        """Take the kernel's contents as they are: what strangers changed is made again."""
        before = dict(self._outer.installed)
        self._outer.read()
        changed = {key for key, _ in before.items() ^ self._outer.installed.items()}
        for number in map(_number, changed):
            self._made.pop(number, None)
            self._due[number] = None

    def write(self, limit: int) -> int:
        """Make and install tables that are due, up to so many different ones: how many entries changed."""
        groups: dict[Members, list[int]] = {}
        for number in self._due:
            _, members = self._wanted.get(number, (None, ()))
            if members and self._made.get(number) != members:
                if members not in groups and len(groups) >= limit:
                    break
                groups.setdefault(members, []).append(number)
        if groups:
            self._install(groups)
        return sum(map(len, groups.values()))

    def delete(self) -> int:
        """Remove tables that nobody wants; call it after `write` and after the services' own entries are gone."""
        gone = [number for number in self._due if number not in self._wanted]
        for number in gone:
            del self._due[number]
            self._made.pop(number, None)
        self._outer.remove_all([key for key in map(_key, gone) if key in self._outer.installed])
        for number in [one for one in self._due if self._made.get(one) == self._wanted[one][1]]:
            del self._due[number]
        return len(gone)

    def close(self) -> None:
        self._outer.close()

    def _install(self, groups: Mapping[Members, list[int]]) -> None:
        """One inner map per group, shared by the frontends that have the same backends."""
        made: dict[Members, Map] = {}
        try:
            for members in groups:
                content = maglev.table([self._ids.backend(one) for one in members], members, self._size, self._seed)
                made[members] = self._maps.new_table(INNER, content)
            self._outer.install_all({_key(one): made[members] for members, all_of in groups.items() for one in all_of})
        finally:
            for inner in made.values():
                inner.close()
        self._made |= {number: members for members, numbers in groups.items() for number in numbers}


def _key(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")
