"""Name the machine that measures: processor, instruction set, threads, onnxruntime version."""

from __future__ import annotations

import os
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

_CPUINFO = Path("/proc/cpuinfo")
# best first: what decides how fast integer and float kernels run
_FLAGS = {
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


# the same by what numpy finds by asking the processor itself; its names differ between versions
_FEATURES = {
    "AVX512VNNI": "avx512_vnni",
    "AVX512_CLX": "avx512_vnni",
    "AVX512F": "avx512",
    "AVX2": "avx2",
    "AVX": "avx",
    "SSE41": "sse4_1",
    "ASIMDDP": "neon_dotprod",
    "ASIMD": "neon",
}
# numpy does not look for these; where the processor has the feature beside them, cpuinfo is believed
_NEEDS = {"amx_int8": "AVX512F", "avx512_vnni": "AVX512F", "avx_vnni": "AVX2", "neon_i8mm": "ASIMDDP"}
# Without dot products of bytes, pairs of u8 * s8 are added in 16 bits, which saturates on 8-bit weights.
_SATURATING = frozenset({"avx512", "avx2", "avx", "sse4_1"})


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
        isa=_instruction_set(lines, _features()),
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


def pair_sums(isa: str) -> str:
    """The integers in which onnxruntime adds neighbouring products of u8 and s8 there: int16 or int32.

    ``isa`` as ``machine`` names it.  In int16 a sum of two saturates unless weights are kept small.
    """
    return "int16" if isa in _SATURATING else "int32"


def _instruction_set(cpuinfo: list[str], features: frozenset[str]) -> str:
    """The best of what /proc/cpuinfo lists and the processor has.

    An emulated process sees the cpuinfo of its host; other systems than Linux have none.
    """
    flags = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split())
    listed = [isa for flag, isa in _FLAGS.items() if flag in flags]
    own = next((isa for feature, isa in _FEATURES.items() if feature in features), None)
    if own is None:
        return listed[0] if listed else platform.machine().lower()
    return next((isa for isa in listed if isa == own or _NEEDS.get(isa) in features), own)


def _features() -> frozenset[str]:
    """What numpy found by asking the processor; empty where it does not say."""
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            features = getattr(import_module(module), "__cpu_features__", {})
        except ImportError:
            continue
        return frozenset(name for name, is_there in features.items() if is_there)
    return frozenset()


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
