"""The agent's own process: its age and memory (for `seta status` and the benchmarks), its garbage collector."""

import gc
import os
import time
from pathlib import Path


def age_seconds() -> float:
    """Since the kernel started this process: imports count, unlike for a clock read by Python code."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), seconds after boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def relax_collector() -> None:
    """Called once everything is imported: modules are for ever, and rows (some hundred thousand) are no garbage.

    Halves the time in which ten thousand services are read.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
