"""The system calls behind a node: namespaces and mounts, which Python 3.11 has no functions for.

Used by node_init.py (which becomes a node), outsiders.py and forwarder.py (which step into a network).
"""

import ctypes
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_REC = 0x4000
MS_BIND = 0x1000
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # machine -> system call number (libc has no wrapper)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def enter_network(path: str) -> None:
    """Move the calling thread into the network namespace that is mounted at `path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), f"setns {path}")
    finally:
        os.close(descriptor)


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones (CLONE_NEWPID: from the next child on)."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount `source` at `target`, of a kind of file system or by flags."""
    code = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _check(code, f"mount {kind or 'bind'} {source} at {target}")


def bind(source: str, target: str) -> None:
    """Show a directory or file, and all that is mounted below it, in a second place."""
    mount(source, target, flags=MS_BIND | MS_REC)


def pivot(root: str) -> None:
    """Make the mount at `root` the root of this mount namespace, and let go of everything else."""
    os.chdir(root)
    number = PIVOT_ROOT[platform.machine()]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root {root}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount old root")
    os.chdir("/")


def set_hostname(name: str) -> None:
    _check(_libc.sethostname(name.encode(), len(name)), f"sethostname {name}")
