"""A thread with network and mount namespaces of its own: devices, routes and a bpffs that nobody else sees.

`BPF_PROG_TEST_RUN` looks devices up in the calling thread's network namespace, so everything that touches eBPF runs
in this one thread. When it ends, also by a kill, the kernel takes the namespaces with all that was in them.
"""

import concurrent.futures
import ctypes
import os
import pathlib
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000
RECURSIVE, PRIVATE = 1 << 14, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
P = ParamSpec("P")
T = TypeVar("T")


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


class Sandbox:
    """`run` calls a function in the thread. `bpffs`: the mount that only the thread sees."""

    def __init__(self) -> None:
        self.bpffs = pathlib.Path(tempfile.mkdtemp(prefix="dp-"))
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "datapath", self._enter)
        self.tid = self.run(threading.get_native_id)  # `ip link ... netns <tid>` moves a device here

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.submit(function, *args, **kwargs).result()

    def ip(self, *commands: str) -> None:
        """Run `ip` commands in the namespace."""
        batch = "\n".join(commands)
        self.run(self._command, ["ip", "-batch", "-"], batch)

    def close(self) -> None:
        self._thread.shutdown()
        self.bpffs.rmdir()

    def _enter(self) -> None:
        _checked(_libc.unshare(NEW_MOUNTS | NEW_NETWORK), "namespaces")
        _checked(_libc.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None), "private mounts")
        _checked(_libc.mount(b"bpf", os.fsencode(self.bpffs), b"bpf", 0, None), "bpffs")

    def _command(self, command: list[str], text: str) -> Any:
        return subprocess.run(command, input=text, text=True, check=True, capture_output=True)
