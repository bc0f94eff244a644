"""The machine, as figures of speed name it."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def described() -> str:
    return f"{processor()}, {cpus()} CPUs"


def cpus() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    for line in CPUINFO.read_text().splitlines() if CPUINFO.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
