"""How much memory a run holds and may hold, and what would fit where a step did not."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import torch

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
SPARE = 0.9  # of what is there: allocators round up, and the libraries want some
AT_MOST = 0.75  # of what failed: it failed somewhere within the step, and might have asked for more later


def held(device: torch.device) -> int:
    """Bytes in use now: on the GPU what tensors hold, else what the process has in memory."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peak(device)


def peak(device: torch.device) -> int:
    """The most bytes that were in use at a time."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


def there(device: torch.device) -> int:
    """Bytes that this process may hold at most."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [soft for soft in (resource.getrlimit(resource.RLIMIT_AS)[0],) if soft != resource.RLIM_INFINITY]
    for name in CGROUPS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(limits)


def asked(error: BaseException) -> int:
    """Bytes of the allocation that failed, as torch tells them; 0 where it does not."""
    found = re.search(r"tried to allocate ([\d.]+) ?(GiB|MiB|KiB)?", str(error), re.IGNORECASE)
    return int(float(found[1]) * UNITS[found[2] or "B"]) if found else 0


def share_that_fits(before: int, most: int, limit: int) -> float:
    """How much of a step would have fitted that held `before` bytes at its start and wanted `most` when it failed.

    What a step adds grows with its tokens, so the same share of them fits.
    """
    return max(0.0, min(AT_MOST, (SPARE * limit - before) / max(1, most - before)))
