"""Whether an agent that ends will have no successor. Asked by `agent` after SIGTERM; on doubt the answer is no.

Our DaemonSet says so, gone or going. But `helm uninstall` deletes the agents' rights and their service account right
after it, so the API server mostly answers 403 or 401; and 401 is also what an agent hears whose pod was deleted by
force, or with its node: its token ends with its pod object. The pod tells them apart. When a DaemonSet goes its pods
are deleted gracefully, and stay, terminating, until they have ended; by force a pod is gone at once. A connection that
stands outlives the rights it was opened with, so the agent watches its own pod.
"""

from pathlib import Path

from seta_agent.cni.install import DAEMONSET
from seta_agent.kube import KubeClient, KubeError, Object
from seta_agent.kube_access import SERVICE_ACCOUNT, own_namespace
from seta_agent.signals import Signal
from seta_agent.tables import Table
from seta_agent.watch.reflector import Reflector, Source
from seta_crds import names

LAG_SECONDS = 1.0  # the kubelet may have heard of the deletion before us


class OwnPod:
    """What the API server last said of the agent's own pod. `name` "": it has none that we know."""

    def __init__(self, client: KubeClient, name: str, account: Path = SERVICE_ACCOUNT) -> None:
        self._name = name
        self._going: Table[str, bool] = Table("own_pod")  # name -> whether it is terminating
        chosen = {"fieldSelector": f"metadata.name={name},metadata.namespace={own_namespace(account)}"}
        source = Source("own pod", names.POD.path(), _name, _is_going, chosen)
        self._reflector = Reflector(client, source, self._going)

    async def run(self) -> None:
        """Until cancelled."""
        if self._name:
            await self._reflector.run()

    async def is_terminating(self) -> bool:
        """Whether it is there still, and terminating."""
        changed = Signal(self._going)
        try:
            return await changed.until(lambda: self._going.get(self._name) or None, LAG_SECONDS)
        except TimeoutError:
            return False


async def is_uninstalled(client: KubeClient, own_pod: OwnPod, account: Path = SERVICE_ACCOUNT) -> bool:
    """False where the API server does not say."""
    try:
        found = await client.get(f"/apis/apps/v1/namespaces/{own_namespace(account)}/daemonsets/{DAEMONSET}")
    except KubeError as error:
        return error.gone or (error.forbidden and await own_pod.is_terminating())
    return bool(found["metadata"].get("deletionTimestamp"))


def _name(item: Object) -> str:
    name: str = item["metadata"]["name"]
    return name


def _is_going(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))
