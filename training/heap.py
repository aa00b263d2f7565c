"""Memory that was freed is kept for what is asked for next."""

import ctypes

# The numbers by which glibc knows these settings: malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES, MAPPED_BYTES = 2**30, 2**25  # the second is the most that glibc allows


def keep_freed() -> None:
    """Let glibc keep up to a gigabyte that was freed; other C libraries are left as they are.

    Every step frees what its backward pass needed and asks for as much again. By default that memory goes back to the
    system in between, and each of its pages costs a fault and is filled with zeros when it returns.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
