import platform
import subprocess
import sys

import pytest

ROUNDS = """
import ctypes, resource, sys
from training import heap
if sys.argv[1] == "kept":
    heap.keep_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(2**22) for _ in range(32)]
    for block in blocks:
        ctypes.memset(block, 1, 2**22)
    for block in blocks:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(3):
    faults = round()
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_memory_that_was_freed_is_not_asked_for_again():
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", ROUNDS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    usual, kept = faults("usual"), faults("kept")
    assert kept < 1_000 < usual  # of 32,768 pages
