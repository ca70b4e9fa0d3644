"""The compiler's part about ICMP: message types by number and by name. Pure; used by compile_traffic.

Numbers are IANA's ("ICMP Type Numbers", "ICMPv6 Parameters"), names those that the field's users know.
"""

from collections.abc import Mapping, Sequence

from seta_crds.policy_ports import ICMPField, ICMPRule
from seta_operator.services.problems import Problem
from seta_operator.store.facts import JSON

MAX_TYPE = 255
PROTOCOL: Mapping[str, str] = {"IPv4": "ICMP", "IPv6": "ICMPV6"}  # family -> protocol
NUMBERS: Mapping[str, Mapping[str, int]] = {  # family -> name -> type
    "IPv4": {
        "EchoReply": 0,
        "DestinationUnreachable": 3,
        "Redirect": 5,
        "Echo": 8,
        "EchoRequest": 8,
        "RouterAdvertisement": 9,
        "RouterSelection": 10,
        "TimeExceeded": 11,
        "ParameterProblem": 12,
        "Timestamp": 13,
        "TimestampReply": 14,
        "Photuris": 40,
        "ExtendedEchoRequest": 42,
        "ExtendedEchoReply": 43,
    },
    "IPv6": {
        "DestinationUnreachable": 1,
        "PacketTooBig": 2,
        "TimeExceeded": 3,
        "ParameterProblem": 4,
        "EchoRequest": 128,
        "EchoReply": 129,
        "MulticastListenerQuery": 130,
        "MulticastListenerReport": 131,
        "MulticastListenerDone": 132,
        "RouterSolicitation": 133,
        "RouterAdvertisement": 134,
        "NeighborSolicitation": 135,
        "NeighborAdvertisement": 136,
        "RedirectMessage": 137,
        "RouterRenumbering": 138,
        "ICMPNodeInformationQuery": 139,
        "ICMPNodeInformationResponse": 140,
        "InverseNeighborDiscoverySolicitation": 141,
        "InverseNeighborDiscoveryAdvertisement": 142,
        "HomeAgentAddressDiscoveryRequest": 144,
        "HomeAgentAddressDiscoveryReply": 145,
        "MobilePrefixSolicitation": 146,
        "MobilePrefixAdvertisement": 147,
        "DuplicateAddressRequestCodeSuffix": 157,
        "DuplicateAddressConfirmationCodeSuffix": 158,
        "ExtendedEchoRequest": 160,
        "ExtendedEchoReply": 161,
    },
}


def types(rules: Sequence[ICMPRule], path: str) -> tuple[list[JSON], list[Problem]]:
    """Message types as ports of ICMP and ICMPV6: there the port is the type, 0 too."""
    found: list[JSON] = []
    problems: list[Problem] = []
    for n, rule in enumerate(rules):
        if not rule.fields_:
            problems.append(Problem(f"{path}[{n}].fields", "names no type: name some, or leave icmps out"))
        for m, wanted in enumerate(rule.fields_ or []):
            number, wrong = _number(wanted)
            one: JSON = {"protocol": PROTOCOL[wanted.family or "IPv4"], "port": number}
            if wrong:
                problems.append(Problem(f"{path}[{n}].fields[{m}].type", wrong))
            elif one not in found:
                found.append(one)
    return found, problems


def _number(wanted: ICMPField) -> tuple[int, str]:
    """The type, or what is wrong with it."""
    family, text = wanted.family or "IPv4", str(wanted.type)
    if text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_TYPE)) and int(text) <= MAX_TYPE:
        return int(text), ""
    if text in NUMBERS[family]:
        return NUMBERS[family][text], ""
    other = "IPv4" if family == "IPv6" else "IPv6"
    if text in NUMBERS[other]:
        return 0, f"{text} is no type of {family}: write family: {other}"
    return 0, f"{text} is no ICMP type: write 0 to {MAX_TYPE}, or a name such as EchoRequest"
