"""What `seta policy explain` is asked about: `80/TCP`, `http/TCP`, `ICMP/8`. Pure."""

import dataclasses

from seta_agent.api.parties import NamedPorts
from seta_agent.desired import ports, verdict

FORMS = "write 80/TCP, http/TCP or 8/ICMP"


class QuestionError(Exception):
    """That is no port; the sentence says what to write."""


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """`port`: a number, a name, or the type of an ICMP message."""

    protocol: str  # TCP, UDP, SCTP, ICMP, ICMPV6
    port: str

    @property
    def text(self) -> str:
        return f"{self.port}/{self.protocol}"

    def packet(self, named: NamedPorts, whose: str) -> verdict.Packet:
        """As the datapath asks about it; a name is the destination's. Raises QuestionError."""
        if self.port.isdigit():
            return verdict.packet(self.protocol, int(self.port))
        for name, number, protocol in named:
            if (name, protocol) == (self.port, self.protocol):
                return verdict.packet(self.protocol, number)
        raise QuestionError(f"{whose} has no port that is called {self.text}")


def parse(text: str) -> Question:
    """`80/TCP` and `TCP/80` alike. Raises QuestionError."""
    first, _, second = text.partition("/")
    known = (*ports.WITH_PORTS, *ports.ICMP)
    port, protocol = (second, first.upper()) if first.upper() in known else (first, second.upper())
    limit = 0xFF if protocol in ports.ICMP else 0xFFFF
    if protocol not in known or not port or (port.isdigit() and int(port) > limit):
        raise QuestionError(f"{text} is no port: {FORMS}")
    if protocol in ports.ICMP and not port.isdigit():
        raise QuestionError(f"{text} is no message type: {FORMS}")
    return Question(protocol, port)
