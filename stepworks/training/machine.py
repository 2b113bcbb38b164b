"""What the machine refuses: it is told as such, and another attempt may get it."""

from __future__ import annotations

import errno

from stepworks.errors import ResourceError

_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (  # those that the system has
        "EAGAIN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EDQUOT", "EFBIG", "EHOSTUNREACH", "EIO", "EMFILE",
        "ENETUNREACH", "ENFILE", "ENOMEM", "ENOSPC", "ENOTCONN", "EREMOTEIO", "EROFS", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""Of a disk that is full or gone, a network that is gone, and a limit of the system; not of a file that is missing."""

# What CUDA says of a device that fails; its errors have one class. What the code does wrong is not among them.
_DEVICE_WORDS = (
    "busy or unavailable",
    "hardware",
    "illegal instruction",
    "illegal memory access",
    "nvlink",
    "uncorrectable",
    "unknown error",
    "unspecified launch failure",
)


def refusal(error: BaseException) -> ResourceError | None:
    """The error of our tree for what the disk, the network or the GPU refused; None for anything else."""
    if not (_is_systems(error) or _is_devices(error)):
        return None
    return ResourceError(
        "The machine refused what training needs",
        received=f"{type(error).__name__}: {error}",
        expected="disks with free space that answer, a network and a sound device",
        what_to_do="Read the traceback in the log of the process; mend the machine or take another one, and run again: "
        "training resumes.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, of the device or of the host: torch has several errors for it."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "DefaultCPUAllocator" in said)
    )


def _is_systems(error: BaseException) -> bool:
    return isinstance(error, OSError) and (isinstance(error, ConnectionError | TimeoutError) or error.errno in _ERRNOS)


def _is_devices(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, RuntimeError) and "CUDA error" in said and any(word in said for word in _DEVICE_WORDS)
