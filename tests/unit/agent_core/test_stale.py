"""Changes of services in; whether a UDP backend left, and what frontends offer, out."""

import errno
import ipaddress
import struct
from types import SimpleNamespace

import pytest

from seta_agent.programmer import sockdiag
from seta_agent.programmer.offers import UdpBackends
from seta_agent.tables import Backend, Frontend, Service, ServicePort, Table

IP = ipaddress.ip_address
DNS = ("kube-system", "kube-dns")
FIRST, SECOND = (IP("10.0.1.5"), 5353), (IP("10.0.1.6"), 5353)


def service(*backends, protocol="UDP", number=17, state="active"):
    fronts = (Frontend(number, "ClusterIP", IP("10.96.0.10"), 53), Frontend(0, "NodePort", IP("0.0.0.0"), 30053))
    rows = tuple(Backend(*backend, state=state) for backend in backends)
    return Service(*DNS, (ServicePort("dns", protocol, fronts, rows),))


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (None, service(FIRST), False),
        (service(FIRST), service(FIRST, SECOND), False),
        (service(FIRST, SECOND), service(FIRST), True),
        (service(FIRST), service(SECOND), True),
        (service(FIRST), service(FIRST, state="terminating"), False),
        (service(FIRST), service(), True),
        (service(FIRST), None, True),
        (service(FIRST), service(FIRST, number=18), True),
        (service(FIRST, SECOND, protocol="TCP"), service(FIRST, protocol="TCP"), False),
        (service(FIRST), service(FIRST, protocol="TCP"), True),
    ],
)
def test_only_a_udp_backend_that_a_frontend_had_and_has_no_longer_left(before, after, left):
    services = Table("services")
    if before:
        services.set(DNS, before)
    known = UdpBackends(services)
    assert known.left
    known.left = False
    if after:
        services.set(DNS, after)
    else:
        services.delete(DNS)
    assert known.left is left


def test_what_is_offered_follows_the_services():
    services = Table("services")
    known = UdpBackends(services)
    services.set(DNS, service(FIRST, SECOND))
    assert known.offers() == {17: frozenset({FIRST, SECOND})}
    services.delete(DNS)
    assert known.offers() == {}


def test_a_kernel_without_udp_diag_is_a_sentence(monkeypatch):
    diag = sockdiag.SockDiag()
    answer = sockdiag.HEADER.pack(sockdiag.HEADER.size + 4, sockdiag.NLMSG_ERROR, 0, 1, 0)
    answer += struct.pack("=i", -errno.ENOENT)
    monkeypatch.setattr(diag, "_socket", SimpleNamespace(send=len, recv=lambda _size: answer, close=diag._socket.close))
    with diag, pytest.raises(sockdiag.DiagError, match="CONFIG_INET_UDP_DIAG"):
        list(diag.connected())
