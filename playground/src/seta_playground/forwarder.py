"""kubectl's way to the API server: listens on the machine's loopback, connects inside the node's network.

Started by up.py as `python -I -m seta_playground.forwarder SOCKET-FD NETNS CGROUP HOST PORT`, where the socket is
already listening: the port is taken before anybody is told of it. Ends with the cluster.
"""

import asyncio
import contextlib
import resource
import socket
import sys

from seta_playground import cgroups, namespaces

CHUNK = 1 << 16


def main() -> None:
    descriptor, netns, group, host, port = sys.argv[1:]
    cgroups.join(group)
    listener = socket.socket(fileno=int(descriptor))
    namespaces.enter_network(netns)  # the listener stays where it was made; new sockets are made in here
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(listener, host, int(port)))


async def _serve(listener: socket.socket, host: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(host, port)
        except OSError:  # not started yet, or restarting: the client tries again
            writer.close()
            return
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    server = await asyncio.start_server(connected, sock=listener)
    async with server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends; an end is passed on as an end, a reset as a close."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return
    writer.close()


if __name__ == "__main__":
    main()
