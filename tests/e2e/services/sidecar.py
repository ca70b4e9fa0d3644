"""A sidecar as small as can be; runs beside an application by `python3 -c`, with its port as the argument.

Takes the connections that the pod's iptables redirect to it, says where each was to go, and carries it on there.
"""

import asyncio
import contextlib
import socket
import struct
import sys

ORIGINAL_DST = 80  # SO_ORIGINAL_DST, which Python has no name for


def wanted(connection: socket.socket) -> tuple[str, int]:
    port, address = struct.unpack_from("!2xH4s", connection.getsockopt(socket.SOL_IP, ORIGINAL_DST, 16))
    return socket.inet_ntoa(address), port


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(data)
    writer.close()


async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address, port = wanted(writer.get_extra_info("socket"))
    writer.write(f"{address}:{port} ".encode())
    answer, there = await asyncio.open_connection(address, port)
    await asyncio.gather(carry(reader, there), carry(answer, writer))


async def main(port: int) -> None:
    server = await asyncio.start_server(taken, "0.0.0.0", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
