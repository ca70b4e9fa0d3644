"""In which order sets, identities and policies are written. Used by policy.py, which says what may have changed.

(1) sets (2) identities (3) policies (4) sets nobody refers to any more. A set is written before the identity that it
newly contains and before the policy that refers to it, so that no agent sees a pod that its policy does not select
yet, or a policy whose peers it does not know. A write that fails holds back only what depends on it.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.services import wanted
from seta_operator.services.compiled import Compiled
from seta_operator.services.membership import Membership
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

Source = tuple[Kind, Key]  # a policy as users write it
WRITTEN = (names.SELECTOR_SET, names.IDENTITY, names.COMPILED_POLICY)


class Writes:
    """What is to be written, until it is."""

    def __init__(
        self, cluster: Cluster, writer: Writer, membership: Membership, compiled: Mapping[Source, Compiled]
    ) -> None:
        """`compiled`: policy -> as compiled; policy.py's, only read here."""
        self._cluster, self._writer, self._membership, self._compiled = cluster, writer, membership, compiled
        self._open: dict[Kind, set[Key]] = {kind: set() for kind in WRITTEN}  # kind -> to be written
        self._untold: set[Source] = set()  # policies whose verdict is to be told once they are written

    def open(self, keys: Mapping[Kind, AbstractSet[Key]]) -> None:
        """Have a look at these: objects that are written here, or policies as users write them."""
        for kind, some in keys.items():
            if kind in self._open:
                self._open[kind] |= some
            else:
                self._untold |= {(kind, key) for key in some}

    def left(self) -> set[Source]:
        """What could not be written."""
        return {(kind, key) for kind, held in self._open.items() for key in held}

    async def write(self) -> list[Source]:
        """Write what is open, and what membership has touched; returns the policies whose verdict may be told now."""
        sets, identities = self._membership.drain()
        self._open[names.SELECTOR_SET] |= {("", name) for name in sets}
        self._open[names.IDENTITY] |= {("", str(number)) for number in identities}
        content = {key: self._membership.set(key[1]) for key in self._open[names.SELECTOR_SET]}
        await self._ensure(names.SELECTOR_SET, {key: one for key, one in content.items() if one is not None})
        missing = {name for _, name in self._open[names.SELECTOR_SET] if content["", name] is not None}
        await self._ensure(names.IDENTITY, self._wanted_identities(missing))
        await self._ensure(names.COMPILED_POLICY, self._wanted_policies(missing))
        if not self._open[names.COMPILED_POLICY]:  # a policy not written yet may still refer to a set
            await self._ensure(names.SELECTOR_SET, {key: one for key, one in content.items() if one is None})
        return self._told()

    async def _ensure(self, kind: Kind, content: dict[Key, facts.JSON | None]) -> None:
        failed = await self._writer.ensure(kind, content)
        self._open[kind] -= content.keys() - failed
        if kind == names.IDENTITY:
            self._membership.nodes.written(_number(key) for key in content.keys() - failed)

    def _wanted_identities(self, missing: set[str]) -> dict[Key, facts.JSON | None]:
        """Open identities, but for those that belong into a set not written yet."""
        result: dict[Key, facts.JSON | None] = {}
        for key in self._open[names.IDENTITY]:
            content = self._membership.identity(_number(key))
            if content is None or not missing or not missing.intersection(self._membership.sets_of(_number(key))):
                result[key] = content
        return result

    def _wanted_policies(self, missing: set[str]) -> dict[Key, facts.JSON | None]:
        """Open policies, but for those that refer to a set not written yet."""
        result: dict[Key, facts.JSON | None] = dict.fromkeys(self._open[names.COMPILED_POLICY])
        for source, compiled in self._compiled.items() if result else ():
            key, policy = ("", wanted.policy_name(*source)), self._cluster.policies(source[0]).get(source[1])
            if key not in result:
                continue
            if policy is None or missing.intersection(compiled.specs):
                del result[key]
            else:
                result[key] = wanted.policy(*source, policy, compiled, self._nodes(compiled))
        return result

    def _nodes(self, compiled: Compiled) -> dict[int, list[str]]:
        matching = self._membership.surroundings.nodes_matching
        return {n: matching(selector) for n, selector in compiled.nodes.items()}

    def _told(self) -> list[Source]:
        written = [
            source
            for source in sorted(self._untold)
            if ("", wanted.policy_name(*source)) not in self._open[names.COMPILED_POLICY]
        ]
        self._untold.difference_update(written)
        return [source for source in written if source in self._compiled]


def _number(key: Key) -> int:
    return int(key[1]) if key[1].isdecimal() else 0
