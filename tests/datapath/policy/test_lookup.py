"""The shipped programs and the model of their lookup, asked the same questions: neither may drift from the other.

Over policies as the operator compiles them, through the agent's own flattening and encoder; and over maps that no
compiler would make, for the lookup itself."""

import hypothesis
import pytest
from hypothesis import strategies as st

from seta_agent.desired import policy, policymap
from seta_agent.tables import PolicyDirection, PolicyEntry, PortMatch
from tests.datapath.lab import Lab
from tests.datapath.policy import questions
from tests.datapath.policy.questions import PEERS, Answer, Question
from tests.policy import lookup
from tests.policy.lookup import Entry

PORTS = (0, 1, 53, 79, 80, 81, 127, 128, 443, 1023, 1024, 8079, 8080, 8191, 8192, 32767, 32768, 65534, 65535)
TYPES = (0, 3, 8, 13, 255)  # of ICMP
BOUNDED = hypothesis.settings(
    max_examples=80, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)

port = st.sampled_from(PORTS) | st.integers(0, 65535)
kind = st.sampled_from(TYPES)
with_ports = st.builds(
    Question, st.sampled_from(sorted(PEERS)), st.booleans(), st.sampled_from((6, 17, 132)), port.filter(bool)
)
echoes = st.builds(Question, st.sampled_from(sorted(PEERS)), st.booleans(), st.just(1), st.sampled_from((8, 13)))
asked = st.lists(with_ports | echoes, min_size=20, max_size=20, unique=True)


def port_match(protocol: str, ends: tuple[int, int]) -> PortMatch:
    first, last = sorted(ends)
    return PortMatch(protocol, first, last if first and last != first else 0)


port_matches = st.one_of(
    st.builds(port_match, st.sampled_from(("TCP", "UDP", "SCTP", "ANY")), st.tuples(port, port)),
    st.builds(PortMatch, st.sampled_from(("TCP", "UDP", "ICMP", "ANY")), st.sampled_from(PORTS)),
    st.builds(PortMatch, st.just("ICMP"), kind.filter(bool)),
)
peers = st.lists(st.sampled_from([f"ss-{identity}" for identity in PEERS] + ["ss-half"]), max_size=4, unique=True)
entry = st.builds(
    PolicyEntry,
    origin=st.just("spec"),
    deny=st.booleans(),
    peers=st.none() | peers.map(tuple),
    ports=st.none() | st.lists(port_matches, min_size=1, max_size=4).map(tuple),
)
direction = st.builds(PolicyDirection, st.booleans(), st.lists(entry, max_size=5).map(tuple))
rules = st.lists(st.tuples(st.sampled_from(("CiliumNetworkPolicy a/a", "NetworkPolicy b/b")), direction), max_size=4)
SETS = {
    "ss-half": frozenset(list(PEERS)[::2]),
    **{f"ss-{identity}": frozenset([identity]) for identity in PEERS},
}


@pytest.fixture
def node(native: Lab) -> Lab:
    questions.know_peers(native)
    return native


@BOUNDED
@hypothesis.given(ingress=rules, egress=rules, asks=asked)
def test_compiled_policies_are_looked_up_as_the_model_does(
    node: Lab, ingress: policy.Rules, egress: policy.Rules, asks: list[Question]
):
    results = {
        False: policy.ingress(ingress, "always", SETS, {}),
        True: policy.egress(egress, "always", SETS, {}),
    }
    encoded = policymap.encode(results, policymap.Cookies(), *lookup.layouts())
    agree(node, encoded, asks)


def raw_entry(place: tuple[int, bool, int, int], bits: int, decision: tuple[bool, int]) -> Entry:
    """bits: of protocol and port that count; what is behind them is 0, as the kernel wants it of nobody."""
    identity, egress, protocol, number = place
    value = (protocol << 16 | number) >> (24 - bits) << (24 - bits)
    return Entry(identity, egress, value >> 16, value & 0xFFFF, lookup.STATIC_BITS + bits, *decision, cookie=0)


places = st.tuples(st.sampled_from([0, *PEERS]), st.booleans(), st.sampled_from((1, 6, 17)), port)
raw_entries = st.builds(
    raw_entry, places, st.just(0) | st.integers(8, 24), st.tuples(st.booleans(), st.sampled_from((0, 1, 2, 2**32 - 1)))
)


@BOUNDED
@hypothesis.given(entries=st.lists(raw_entries, max_size=40), asks=asked)
def test_any_map_is_looked_up_as_the_model_does(node: Lab, entries: list[Entry], asks: list[Question]):
    encoded = dict(encode(entry, number) for number, entry in enumerate(entries, 1))
    agree(node, encoded, asks)


def encode(entry: Entry, cookie: int) -> tuple[bytes, bytes]:
    key, value = (bytearray(layout.itemsize) for layout in lookup.layouts())
    for record, layout, fields in (
        (key, lookup.layouts()[0], _key(entry)),
        (value, lookup.layouts()[1], {"deny": entry.deny, "precedence": entry.precedence, "cookie": cookie}),
    ):
        for name, number in ({"prefixlen": entry.length} | fields).items():
            dtype, offset = layout.fields[name][:2]
            size = dtype.itemsize
            record[offset : offset + size] = int(number).to_bytes(size, "big" if dtype.byteorder == ">" else "little")
    return bytes(key), bytes(value)


def _key(entry: Entry) -> dict[str, int]:
    return {
        "sec_label": entry.identity,
        "egress": entry.egress,
        "protocol": entry.protocol,
        "dport": entry.port,
    }


def agree(node: Lab, encoded: dict[bytes, bytes], asks: list[Question]) -> None:
    questions.enforce(node, encoded.keys(), encoded.values())
    entries = lookup.read(encoded)
    for question in asks:
        number = question.port << 8 if question.protocol == 1 else question.port
        decided = lookup.decide(entries, question.peer, question.protocol, number, egress=question.egress)
        expected = Answer(decided is not None and not decided.deny, decided.cookie if decided else 0)
        assert questions.ask(node, question) == expected, (question, decided)
