"""One place of the service matrix; runs there by `python3 -c`, needs nothing but Python's own library.

    serve NAME PORT    answers whoever comes over TCP, UDP or SCTP with "NAME PEER", PEER as it sees him
    probe              on each line of stdin, a JSON list of [protocol, address, port]: probes all of them at once, and
                       prints a JSON list of what became of each: "NAME PEER", "refused", "unreachable" or "silent"

SCTP goes by raw sockets (an INIT, and an INIT ACK whose cookie is the text), as not every kernel has it; the checksums
are right, because a kernel's connection tracking looks at them.
"""

import asyncio
import errno
import json
import random
import socket
import struct
import sys

PATIENCE = 0.8  # seconds that a probe without an answer takes
AGAIN = 0.3  # seconds after which a datagram is sent once more: a busy machine loses some
AT_ONCE = 150
INIT, INIT_ACK, COOKIE = 1, 2, 7
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: TIME_WAIT would use up the ports
SCTP, IP_PKTINFO = 132, 8  # numbers that Python 3.11 has no names for


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_packet(sport: int, dport: int, tag: int, kind: int, text: bytes = b"") -> bytes:
    """An INIT or INIT ACK; `text` becomes its cookie."""
    cookie = struct.pack("!HH", COOKIE, 4 + len(text)) + text + bytes(-len(text) % 4) if text else b""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20 + len(cookie), 0x5E7A, 65535, 1, 1, 1) + cookie
    head = struct.pack("!HHI", sport, dport, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def sctp_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    made.settimeout(0)
    return made


def sctp_received(packet: bytes) -> tuple[int, int, int, int, bytes]:
    """(source port, destination port, kind of the first chunk, its tag, its cookie) of an IPv4 packet."""
    data = packet[(packet[0] & 15) * 4 :]
    sport, dport = struct.unpack_from("!HH", data)
    length = struct.unpack_from("!H", data, 34)[0] if len(data) > 36 else 4
    return sport, dport, data[12], struct.unpack_from("!I", data, 16)[0], data[36 : 32 + length]


class Server:
    """`name`: what it calls itself."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port = name, port

    def says(self, peer: str) -> bytes:
        return f"{self.name} {peer}".encode()

    async def connected(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.says(writer.get_extra_info("peername")[0]))
        writer.close()

    def datagram(self, server: socket.socket) -> None:
        """Answered from the very address that it was sent to: a node has several."""
        _, control, _, peer = server.recvmsg(100, 100)
        _, own = struct.unpack_from("i4s", control[0][2])
        there = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("i4s4s", 0, own, bytes(4)))
        server.sendmsg([self.says(peer[0])], [there], 0, peer)

    async def associations(self) -> None:
        raw, loop = sctp_socket(), asyncio.get_running_loop()
        while True:
            packet, (peer, _) = await loop.sock_recvfrom(raw, 2048)
            sport, dport, kind, tag, _ = sctp_received(packet)
            if kind == INIT and dport == self.port:
                raw.sendto(sctp_packet(dport, sport, tag, INIT_ACK, self.says(peer)), (peer, 0))

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        datagrams.bind(("0.0.0.0", self.port))
        loop.add_reader(datagrams, self.datagram, datagrams)
        await asyncio.start_server(self.connected, "0.0.0.0", self.port, backlog=1024)
        await self.associations()


async def tcp(address: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.settimeout(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await loop.sock_connect(client, (address, port))
        if client.getpeername() != (address, port):
            return f"the peer's name is {client.getpeername()}"
        return (await loop.sock_recv(client, 100)).decode() or "closed"


async def udp(address: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0)
        client.connect((address, port))
        for _ in range(2):
            client.send(b"?")
            try:
                return (await asyncio.wait_for(loop.sock_recv(client, 100), AGAIN)).decode()
            except TimeoutError:
                continue
        raise TimeoutError


async def sctp(address: str, port: int) -> str:
    loop, own = asyncio.get_running_loop(), random.randrange(20000, 30000)
    with sctp_socket() as client:
        client.sendto(sctp_packet(own, port, 0, INIT), (address, 0))
        while True:
            packet, (peer, _) = await loop.sock_recvfrom(client, 2048)
            sport, dport, kind, _, text = sctp_received(packet)
            if (peer, sport, dport, kind) == (address, port, own, INIT_ACK):
                return text.decode()


async def probe(gate: asyncio.Semaphore, protocol: str, address: str, port: int) -> str:
    ways = {"TCP": tcp, "UDP": udp, "SCTP": sctp}
    async with gate:
        try:
            return await asyncio.wait_for(ways[protocol](address, port), PATIENCE)
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silent"
        except OSError as error:
            unreachable = error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
            return "unreachable" if unreachable else errno.errorcode[error.errno or 0]


async def probes() -> None:
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        gate = asyncio.Semaphore(AT_ONCE)
        found = await asyncio.gather(*(probe(gate, *one) for one in json.loads(line)))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(probes() if sys.argv[1] == "probe" else Server(sys.argv[2], int(sys.argv[3])).serve())
