"""What the gateway asks of its process: descriptors, freed memory given back, short turns for threads."""

import ctypes
import resource
import sys
from contextlib import suppress

# Descriptors that connections leave to the rest: workers, model files, probes and the event loop.
SPARE_DESCRIPTORS = 128
_MOST_CONNECTIONS = 16_384
# From <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 1 << 20
# Python's own is 5 ms.
_TURN_SECONDS = 0.0005


def share_the_interpreter() -> None:
    """Let threads that plan thousands of images have the interpreter for short turns: the event loop waits for each."""
    sys.setswitchinterval(_TURN_SECONDS)


def raise_descriptor_limit() -> int:
    """Let the process have as many descriptors as the system allows; returns the connections that leave some free."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, soft - SPARE_DESCRIPTORS))


def return_freed_memory() -> None:
    """Have the system get large pieces of memory back as soon as they are freed, where the C library is glibc.

    Else it keeps them after the first, and megabytes of pictures leave holes between small pieces: beside 1,024 uploads
    of 4 MB the process took twice as much.
    """
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
