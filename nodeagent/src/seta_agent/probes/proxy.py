"""/healthz and /livez as kube-proxy has them on port 10256, for load balancers that ask there. Started by the agent.

Off unless `kubeProxyReplacementHealthzBindAddr` names an address. Healthy means that what was asked of the datapath has
been programmed, or is not late yet: a failure that the next attempt mends takes no node out of its load balancers.
"""

import datetime as dt
import json
import time
from collections.abc import Callable

from seta_agent.probes.server import Answer

LATE_SECONDS = 60.0  # kube-proxy's: twice its interval between full syncs
HEADERS = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


class ProxyHealth:
    """`failing_since`: the programmer's, monotonic seconds, None while all is well. `eligible`: the node is to stay."""

    def __init__(
        self,
        failing_since: Callable[[], float | None],
        eligible: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failing_since = failing_since
        self._eligible = eligible
        self._clock = clock

    def healthy(self) -> bool:
        since = self._failing_since()
        return since is None or self._clock() - since < LATE_SECONDS

    def answer(self, path: str) -> Answer:
        if path not in {"/healthz", "/livez"}:
            return Answer(404, "only /healthz and /livez are here\n")
        since, healthy, eligible = self._failing_since(), self.healthy(), self._eligible()
        now = dt.datetime.now(dt.UTC)
        late = dt.timedelta(seconds=0 if healthy or since is None else self._clock() - since)
        told: dict[str, object] = {"lastUpdated": _text(now - late), "currentTime": _text(now)}
        if path == "/healthz":
            told["nodeEligible"] = eligible
            healthy = healthy and eligible
        return Answer(200 if healthy else 503, json.dumps(told), HEADERS)


def _text(moment: dt.datetime) -> str:
    """As Go prints a time."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")
