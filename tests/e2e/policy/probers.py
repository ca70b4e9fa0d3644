"""prober.c in every pod, on every node and in the world: started once, asked all at once.

Used by `ground`. A place is named as in a flow: "red/a", "node:k8s-w1", or the world's address.
"""

import pathlib
import select
import subprocess
import time
from collections.abc import Iterable, Sequence

from tests.policy.reference.flows import Flow

SOURCE = pathlib.Path(__file__).with_name("prober.c")
PATIENCE = 20  # seconds until a prober that says nothing is a failure
PUT = "f=$(mktemp) && head -c {size} > $f && chmod +x $f && exec $f {ports}"  # it removes its own file


def built(directory: pathlib.Path) -> bytes:
    """The static binary."""
    out = directory / "prober"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", out, SOURCE], check=True)
    return out.read_bytes()


def shell(binary: bytes, ports: Iterable[int]) -> str:
    """What a place runs to become a prober; it gets the binary on its stdin, then commands."""
    return PUT.format(size=len(binary), ports=" ".join(map(str, ports)))


class Prober:
    """One place. `process`: with pipes that nothing buffers. `flows`: what it probes, in the order of its answers."""

    def __init__(self, place: str, process: subprocess.Popen[bytes], binary: bytes) -> None:
        self.place = place
        self.flows: list[Flow] = []
        self._process = process
        self._write(binary)

    def ready(self) -> None:
        assert self._line() == "ready", f"{self.place}: the prober does not start"

    def learn(self, flows: Sequence[Flow], addresses: dict[str, str]) -> None:
        """What it probes from now on. addresses: place -> address."""
        self.flows = list(flows)
        lines = (f"{flow.protocol.lower()} {addresses[flow.destination]} {flow.port}\n" for flow in flows)
        self._write("".join(["forget\n", *lines]).encode())

    def go(self) -> None:
        self._write(b"go\n")

    def answers(self) -> dict[Flow, bool]:
        """What became of each probe, after `go`: whether it was answered."""
        line = self._line()
        return {flow: bit == "1" for flow, bit in zip(self.flows, line, strict=True)}

    def live(self, address: str, port: int) -> None:
        """A connection and a flow of datagrams to another prober; both ends speak until they are stopped."""
        self._write(f"live {address} {port}\n".encode())
        assert self._line() == "ok"

    def hush(self) -> None:
        self._write(b"hush\n")
        assert self._line() == "ok"

    def heard(self) -> dict[str, float]:
        """Protocol -> when the other end was last heard (seconds as time.time; 0: never)."""
        self._write(b"heard\n")
        tcp, udp = self._line().split()
        return {"TCP": float(tcp), "UDP": float(udp)}

    def stop(self) -> None:
        """The prober ends with its stdin."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _line(self) -> str:
        """Unbuffered, so that a prober that says nothing can be given up on."""
        out, end, found = self._process.stdout, time.monotonic() + PATIENCE, b""
        assert out
        while not found.endswith(b"\n"):
            readable, _, _ = select.select([out], [], [], max(0, end - time.monotonic()))
            assert readable, f"{self.place}: the prober says nothing"
            part = out.read(65536)
            assert part, f"{self.place}: the prober is gone"
            found += part
        return found.decode().strip()
