"""L2 announcements when they are off: what was written while they were on is taken back, once. Used by app.py."""

from seta_crds import names
from seta_operator.services import l2_lists
from seta_operator.services.subject import Subject
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer


class L2Off(Subject[str]):
    """Marked with the namespace of the leases, once."""

    name = "l2-off"

    def __init__(self, cluster: Cluster, writer: Writer, namespace: str) -> None:
        super().__init__()
        self._cluster, self._writer, self._namespace = cluster, writer, namespace

    def start(self) -> None:
        """All in one go."""
        self.mark(self._namespace)

    async def apply(self, keys: set[str]) -> set[str]:
        """Delete the nodes' lists and the Services' leases."""
        lists = dict.fromkeys(self._cluster.owned(names.NODE_ANNOUNCEMENTS).known())
        if await self._writer.ensure(names.NODE_ANNOUNCEMENTS, lists):
            return keys
        if not await self._writer.read_all(names.LEASE, self._namespace):
            return keys
        leases: dict[Key, None] = {
            key: None for key, lease in self._cluster.owned(names.LEASE).items() if l2_lists.service_of(lease)
        }
        return keys if await self._writer.ensure(names.LEASE, leases) else set()
