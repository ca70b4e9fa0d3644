"""L2 announcements put together. Made by the agent; runs once the programmer has loaded and attached.

Where the value is off, answers of before end at once.
"""

import asyncio
import contextlib
from typing import Any

from seta_agent import kube_access
from seta_agent.kube import KubeClient
from seta_agent.l2.herald import Herald
from seta_agent.l2.holder import Holder, boot_time
from seta_agent.l2.links import Links
from seta_agent.l2.responder import Responder
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.settings import Settings
from seta_agent.tables import Tables


class L2Announcements:
    def __init__(self, settings: Settings, tables: Tables, client: KubeClient, programmer: NodeProgrammer) -> None:
        self._settings, self._tables, self._client, self._programmer = settings, tables, client, programmer
        self._closing = contextlib.ExitStack()
        self._responder: Responder | None = None
        self._holder: Holder | None = None

    def describe(self) -> dict[str, Any]:
        """For `seta status`."""
        if self._holder is None:
            return {"enabled": self._settings.enable_l2_announcements}
        return {"enabled": True, **self._holder.describe()}

    async def run(self) -> None:
        """Until cancelled. Raises BpfError where the maps cannot be opened."""
        self._responder = responder = Responder(self._programmer.maps())
        self._closing.callback(responder.close)
        if not self._settings.enable_l2_announcements or responder.deadline < boot_time():
            responder.silence()  # a deadline that passed: addresses taken up now are announced anew
        if not self._settings.enable_l2_announcements:
            return
        links = Links(lambda: self._programmer.hooked, self._programmer.recheck)
        self._closing.callback(links.close)
        self._holder = holder = self._make_holder(links, responder)
        links.on_change(holder.links_changed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(links.run())
            tasks.create_task(holder.run())

    async def end(self, *, uninstalled: bool) -> None:
        """The agent ends. The next one gets a whole deadline to come up; where none will come, answers end at once."""
        if uninstalled and self._responder:
            self._responder.silence()
        elif self._holder:
            await self._holder.last_beat()
        self._closing.close()

    def _make_holder(self, links: Links, responder: Responder) -> Holder:
        herald = Herald(self._settings.objects, lambda: self._holder.held if self._holder else ())
        self._closing.callback(herald.close)
        holder = Holder(
            self._settings,
            self._tables.nodes,
            self._client,
            namespace=kube_access.own_namespace(),
            links=lambda: links.now,
            responder=responder,
            herald=herald,
        )
        self._closing.callback(holder.close)
        return holder
