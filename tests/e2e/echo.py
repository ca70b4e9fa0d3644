"""Runs in a pod (`python3 -c`, with the port as its argument): echoes over TCP and UDP until SIGTERM."""

import asyncio
import signal
import sys


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self.transport.sendto(data, peer)


async def main(port: int) -> None:
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", port))
    await asyncio.start_server(echo, "0.0.0.0", port, backlog=1024)
    await ending.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
