"""The policies behind an event, in the words of `seta policy explain`. Made by the backend, called by the hub; pure.

A drop by default has no entry that decided: what is named then are the policies whose presence denies by default.
"""

from collections.abc import Callable, Mapping
from typing import Any

from seta_agent.desired import policy, words

Event = Mapping[str, Any]
OfCookie = Callable[[int], tuple[str, ...]]  # cookie of an entry -> policies
OfDefault = Callable[[int, bool], tuple[str, ...] | None]  # endpoint id, egress -> policies; None: not known
BY_DEFAULT = "Policy denied"  # the drop reason where no entry decided
BY_ENTRY = "Policy deny"
NO_POLICIES = frozenset({policy.LOCALHOST, policy.DEFAULT_ALLOW})
CUT_OFF = "its connection is no longer allowed"


class Why:
    def __init__(self, of_cookie: OfCookie, of_default: OfDefault) -> None:
        self._of_cookie = of_cookie
        self._of_default = of_default

    def policies(self, event: Event) -> list[str]:
        """Those that decided; where a default did, those that make it deny."""
        if event["cookie"]:
            return [name for name in self._of_cookie(event["cookie"]) if name not in NO_POLICIES]
        if event["reason"] != BY_DEFAULT or event["state"] in ("reply", "related"):
            return []
        return list(self._of_default(event["endpoint"], event["direction"] == "egress") or ())

    def sentence(self, event: Event) -> str:
        """For drops and refusals; "" where there is nothing to say."""
        if event["reason"] == BY_ENTRY:
            return words.denied_by(policies) if (policies := self.policies(event)) else ""
        if event["reason"] != BY_DEFAULT:
            return ""
        if event["state"] in ("reply", "related"):
            return CUT_OFF
        found = self._of_default(event["endpoint"], event["direction"] == "egress")
        return "" if found is None else words.denied_by_default(found)


def nobody() -> Why:
    """Knows no policies."""
    return Why(lambda _cookie: (), lambda _endpoint, _egress: None)
