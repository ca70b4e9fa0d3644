"""Asks a LAN every 10 ms who has an address, and tells who answered: run inside the LAN's namespace by test_l2.

    lanwatch.py DEVICE SECONDS ADDRESS...

Each question comes from an address of its own, so that an answer says which question it is to: two answers to one
question are two nodes that held the address at the same moment, whatever the network delays. Prints a line once it
asks, and at the end one JSON object:
address -> {"runs": [[mac or "", first, last], ...], "doubles": [[seconds, macs], ...], "told": [[seconds, mac], ...]},
times in seconds since `started` (CLOCK_MONOTONIC, the same for every process of the machine).
"""

import json
import select
import socket
import struct
import sys
import time

PERIOD = 0.01
LATE = 0.5  # seconds after the last question in which answers are still taken
HEAD = "!6s6sHHHBBH6s4s6s4s"
BROADCAST = b"\xff" * 6
ASKERS = "10.250.0.0"  # one address per question, of this /16
MOST = 1 << 16  # questions


class Watch:
    def __init__(self, device: str, addresses: list[str]) -> None:
        self.started = time.monotonic()
        self.asked: dict[str, list[float]] = {address: [] for address in addresses}
        self.answers: dict[str, list[set[str]]] = {address: [] for address in addresses}  # one set per question
        self.told: dict[str, list[tuple[float, str]]] = {address: [] for address in addresses}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self._socket.bind((device, 0))
        *_, self._mac = self._socket.getsockname()

    def run(self, seconds: float) -> None:
        questions = min(round(seconds / PERIOD), MOST)
        for number in range(questions):
            for address in self.asked:
                self._ask(address, number)
            if number == 0:
                print("asking", flush=True)
            self._listen(self.started + (number + 1) * PERIOD)
        self._listen(time.monotonic() + LATE)

    def result(self) -> dict[str, object]:
        found = {address: self._of(address) for address in self.asked}
        return {"started": self.started, **found}

    def _ask(self, address: str, number: int) -> None:
        self.asked[address].append(time.monotonic() - self.started)
        self.answers[address].append(set())
        asker = (struct.unpack("!I", socket.inet_aton(ASKERS))[0] | number).to_bytes(4, "big")
        words = (
            BROADCAST,
            self._mac,
            0x0806,
            1,
            0x0800,
            6,
            4,
            1,
            self._mac,
            asker,
            bytes(6),
            socket.inet_aton(address),
        )
        self._socket.send(struct.pack(HEAD, *words))

    def _listen(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                frame, (_, _, kind, *_) = self._socket.recvfrom(2048)
                if kind != socket.PACKET_OUTGOING and len(frame) >= struct.calcsize(HEAD):
                    self._take(frame)

    def _take(self, frame: bytes) -> None:
        *_, mac, source, _, target = struct.unpack_from(HEAD, frame)
        address = socket.inet_ntoa(source)
        if address not in self.asked:
            return
        if source == target:
            self.told[address].append((round(time.monotonic() - self.started, 4), mac.hex(":")))
            return
        number = struct.unpack("!I", target)[0] - struct.unpack("!I", socket.inet_aton(ASKERS))[0]
        if 0 <= number < len(self.answers[address]):
            self.answers[address][number].add(mac.hex(":"))

    def _of(self, address: str) -> dict[str, object]:
        runs: list[list[object]] = []
        doubles = []
        for asked, macs in zip(self.asked[address], self.answers[address], strict=True):
            if len(macs) > 1:
                doubles.append([asked, sorted(macs)])
            who = ",".join(sorted(macs))
            if runs and runs[-1][0] == who:
                runs[-1][2] = round(asked, 4)
            else:
                runs.append([who, round(asked, 4), round(asked, 4)])
        return {"runs": runs, "doubles": doubles, "told": self.told[address]}


if __name__ == "__main__":
    watch = Watch(sys.argv[1], sys.argv[3:])
    watch.run(float(sys.argv[2]))
    print(json.dumps(watch.result()))
