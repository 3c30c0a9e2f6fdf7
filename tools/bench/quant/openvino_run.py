"""Run a model in OpenVINO: outputs, precisions of its kernels, and time.  Needs openvino and numpy alone.

    python openvino_run.py MODEL FEEDS.npz OUT.npz

One JSON line goes to stdout: ``kernels`` (kind and precision, with how many), ``milliseconds``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from time import perf_counter

import numpy as np

ROUNDS, WARM_UP = 60, 5


def main(model: str, feeds_path: str, out_path: str) -> None:
    import openvino  # type: ignore[import-not-found]

    options = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    with np.load(feeds_path) as stored:
        feeds = {name: stored[name] for name in stored.files}
    result = compiled(feeds)
    names = [port.get_any_name() for port in compiled.outputs]
    np.savez(out_path, **{name: np.asarray(result[i]) for i, name in enumerate(names)})
    print(json.dumps({"kernels": _kernels(compiled), "milliseconds": _time(compiled, feeds)}))


def _kernels(compiled: object) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():  # type: ignore[attr-defined]
        info = node.get_rt_info()
        kind, precision = (str(getattr(info[k], "value", info[k])) for k in ("layerType", "runtimePrecision"))
        counts[f"{kind} {precision}"] += 1
    return dict(counts)


def _time(compiled: object, feeds: dict[str, np.ndarray]) -> float:
    """Milliseconds of an undisturbed run: the mean of the quickest tenth."""
    times = []
    for index in range(WARM_UP + ROUNDS):
        start = perf_counter()
        compiled(feeds)  # type: ignore[operator]
        if index >= WARM_UP:
            times.append(1e3 * (perf_counter() - start))
    return float(np.sort(times)[: ROUNDS // 10].mean())


if __name__ == "__main__":
    main(*sys.argv[1:4])
