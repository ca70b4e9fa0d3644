"""Why an eBPF operation failed: a closed list, each with the sentence that a user reads.

Every failure of the kernel or of libbpf becomes a `BpfError` here, once, at the edge: callers compare `reason`,
never errno.
"""

import enum
import errno
import os


class Reason(enum.Enum):
    """What went wrong, and whether doing the same again can help."""

    NOT_PERMITTED = "the kernel does not permit it: the agent needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    NOT_FOUND = "there is no such entry or pin"
    EXISTS = "it exists already"
    FULL = "the map is full: raise its size (Helm values bpf.*Max)"
    SEVERED = "the device or cgroup that the link was attached to is gone"
    BUSY = "something else holds it: it is tried again"
    NO_DEVICE = "there is no such device in this network namespace"
    NO_MEMORY = "the kernel has no memory left for it"
    INVALID = "the kernel refuses the arguments"
    UNSUPPORTED = "this kernel cannot do it: Linux 6.6 or newer is wanted"
    MISMATCH = "a pinned map has another layout than the object"
    REJECTED = "the kernel's verifier rejects the program"
    BAD_OBJECT = "the object file cannot be read"
    OTHER = "the kernel reports an error"

    @property
    def retry(self) -> bool:
        return self in {Reason.BUSY, Reason.NO_MEMORY, Reason.SEVERED}


# errno -> reason
BY_ERRNO = {
    errno.EPERM: Reason.NOT_PERMITTED,
    errno.EACCES: Reason.NOT_PERMITTED,
    errno.ENOENT: Reason.NOT_FOUND,
    errno.EEXIST: Reason.EXISTS,
    errno.E2BIG: Reason.FULL,
    errno.ENOSPC: Reason.FULL,
    errno.ENOLINK: Reason.SEVERED,
    errno.EBUSY: Reason.BUSY,
    errno.EAGAIN: Reason.BUSY,
    errno.EINTR: Reason.BUSY,
    errno.ENODEV: Reason.NO_DEVICE,
    errno.ENOMEM: Reason.NO_MEMORY,
    errno.EINVAL: Reason.INVALID,
    errno.EOPNOTSUPP: Reason.UNSUPPORTED,
    errno.ENOSYS: Reason.UNSUPPORTED,
    524: Reason.UNSUPPORTED,  # the kernel's own ENOTSUPP, which has no name in user space
}


class BpfError(Exception):
    """An operation on an eBPF object failed.

    `number` is the errno (0 where there is none), `detail` what libbpf or the verifier said, which can be long and
    is not part of the sentence.
    """

    def __init__(self, operation: str, reason: Reason, *, number: int = 0, detail: str = "") -> None:
        self.operation = operation
        self.reason = reason
        self.number = number
        self.detail = detail
        told = f" ({os.strerror(number)})" if number and number != 524 else ""
        super().__init__(f"{operation}: {reason.value}{told}")


def from_errno(operation: str, number: int, detail: str = "") -> BpfError:
    return BpfError(operation, BY_ERRNO.get(number, Reason.OTHER), number=number, detail=detail)
