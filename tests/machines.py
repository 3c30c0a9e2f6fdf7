"""Machines of other instruction sets, for what this machine's processor must not decide."""

from __future__ import annotations

import pytest

from graphopt import runtime

# How products of bytes are added in pairs, and the channels in a block of onnxruntime's kernels.
MACHINES: dict[str, tuple[str, int]] = {
    "sse4_1": ("int16", 8),
    "avx2": ("int16", 8),
    "avx512": ("int16", 16),
    "avx_vnni": ("int32", 8),
    "avx512_vnni": ("int32", 16),
    "amx_int8": ("int32", 16),
    "neon_dotprod": ("int32", 8),
}
ELSEWHERE = (  # targets whose results do not run in onnxruntime
    *(
        "generic",
        "iree",
        "litert",
        "mnn",
        "ncnn",
        "opencv",
        "openvino",
        "ort-web",
        "qnn",
        "tensorrt",
        "tract",
        "tvm",
    ),
)


def pretend(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have the instruction set ``isa``."""
    monkeypatch.setattr(runtime, "machine", lambda *threads: {"isa": isa})
