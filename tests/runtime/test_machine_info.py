"""The name of an instruction set: what cpuinfo lists, as far as the processor really has it."""

from __future__ import annotations

import pytest

from graphopt.runtime import machine_info, pair_sums

X86 = "flags\t\t: fpu sse4_1 avx avx2"
HASWELL = frozenset({"SSE41", "AVX", "AVX2"})
SKYLAKE = HASWELL | {"AVX512F"}
ICE_LAKE = SKYLAKE | {"AVX512VNNI", "AVX512_CLX"}


@pytest.mark.parametrize(
    ("cpuinfo", "features", "isa"),
    [
        (X86, HASWELL, "avx2"),
        (f"{X86} avx_vnni", HASWELL, "avx_vnni"),
        (f"{X86} avx512f", SKYLAKE, "avx512"),
        (f"{X86} avx512f avx512_vnni", ICE_LAKE, "avx512_vnni"),
        (f"{X86} avx512f avx512_vnni", SKYLAKE | {"AVX512_CLX"}, "avx512_vnni"),
        (f"{X86} avx512f avx512_vnni amx_int8", ICE_LAKE, "amx_int8"),
        (f"{X86} avx512f avx512_vnni", HASWELL, "avx2"),  # an emulated processor on such a host
        (f"{X86} avx512f avx512_vnni", frozenset(), "avx512_vnni"),
        ("", HASWELL, "avx2"),  # not Linux
        ("", ICE_LAKE, "avx512_vnni"),
        ("Features\t: fp asimd asimddp i8mm", frozenset({"ASIMD", "ASIMDDP"}), "neon_i8mm"),
        ("Features\t: fp asimd asimddp", frozenset({"ASIMD", "ASIMDDP"}), "neon_dotprod"),
        ("Features\t: fp asimd", frozenset({"ASIMD"}), "neon"),
    ],
)
def test_names(cpuinfo: str, features: frozenset[str], isa: str) -> None:
    assert machine_info._instruction_set([cpuinfo], features) == isa


def test_an_unknown_processor_has_the_name_of_its_architecture() -> None:
    assert machine_info._instruction_set([], frozenset()) == machine_info.platform.machine().lower()
    assert pair_sums("riscv64") == "int32"
