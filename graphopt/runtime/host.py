"""Name the machine that measures: processor, instruction set, threads, onnxruntime version."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

_CPUINFO = Path("/proc/cpuinfo")
# best first: what decides how fast integer and float kernels run
_ISA = {
    "amx_int8": "amx_int8",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512f": "avx512",
    "avx2": "avx2",
    "avx": "avx",
    "sse4_1": "sse4_1",
    "i8mm": "neon_i8mm",
    "asimddp": "neon_dotprod",
    "asimd": "neon",
}


class Machine(TypedDict):
    """The machine as the report writes it."""

    cpu: str
    isa: str
    threads: int
    onnxruntime: str


def machine(threads: int | None = None) -> Machine:
    """Processor name, best vector instruction set, threads and onnxruntime version.

    `threads` is what the measurement used; by default the processors this process may run on.
    """
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    return Machine(
        cpu=_cpu_name(lines),
        isa=_instruction_set(lines),
        threads=_usable_processors() if threads is None else threads,
        onnxruntime=_runtime_version(),
    )


def _runtime_version() -> str:
    """The installed version, without loading it where its distribution tells."""
    try:
        return version("onnxruntime")
    except PackageNotFoundError:  # it comes from another distribution, such as onnxruntime-gpu
        import onnxruntime

        return str(onnxruntime.__version__)


def _cpu_name(cpuinfo: list[str]) -> str:
    name = _field(cpuinfo, "model name") or platform.processor() or platform.machine()
    return " ".join(name.split())


def _instruction_set(cpuinfo: list[str]) -> str:
    flags = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split())
    return next((isa for flag, isa in _ISA.items() if flag in flags), platform.machine().lower())


def _field(cpuinfo: list[str], name: str) -> str:
    """The first value of a /proc/cpuinfo field, empty when the kernel does not list it."""
    for line in cpuinfo:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
