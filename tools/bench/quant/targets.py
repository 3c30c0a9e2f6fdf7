"""INT8 by target: what fuses and how fast in onnxruntime, and the same file in OpenVINO.

    python -m tools.bench.quant.targets --openvino PYTHON [--corpus DIR] [--json FILE]

``fusion_row``, ``latency_row`` and ``openvino_row`` serve other benchmarks as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

import graphopt
from graphopt import ir, runtime
from graphopt.passes.quant.search.speed import Timer
from graphopt.passes.quant.verify.kernels import unfused, verify_fusion
from graphopt.runtime.session import load_runtime

Feeds = Mapping[str, np.ndarray]

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"
SCRIPT = Path(__file__).with_name("openvino_run.py")
SAMPLES = 16
FREEZE = "clean:freeze=true,fold-bn"
PLAIN = "rounding=nearest:bias_correction=false"  # other integers take the same time
MODELS: dict[str, dict[str, str]] = {  # sizes for dynamic inputs, where the default is not what they meet
    "efficientnet_lite0_bn": {},
    "cifar_resnet20_bn": {},
    "fashion_mnv2_bn": {},
    "ulfd_rfb320": {},
    "ppocr_v4_det": {"x": "1x3x320x320"},
    "ppocr_v2_cls": {"x": "1x3x48x192"},
    "paddle_mobilenet_v1_rand": {},
    "mtcnn_onet": {},
}


def fusion_row(path: Path) -> dict[str, Any]:
    """How many planned operators of a quantized file run on integers in onnxruntime, and which do not."""
    operators = verify_fusion(ir.load(path))
    fused = sum(operator.fused for operator in operators)
    return {"planned": len(operators), "fused": fused, "float": dict(unfused(operators))}


def latency_row(paths: Mapping[str, Path], feeds: Feeds) -> dict[str, float]:
    """Milliseconds of several files in interleaved runs, one thread: the mean of the quickest tenth."""
    timer = Timer(feeds, runtime.Session, {"threads": 1})
    return dict(zip(paths, timer.milliseconds([ir.load(path) for path in paths.values()]), strict=True))


def openvino_row(python: Path, plain: Path, stored: Path, feeds: Feeds, work: Path) -> dict[str, Any]:
    """A float and a quantized file in OpenVINO: times, integer kernels, and outputs against onnxruntime's."""
    np.savez(work / "feeds.npz", **feeds)
    results = {}
    for label, model in (("float", plain), ("int8", stored)):
        command = [str(python), str(SCRIPT), str(model), str(work / "feeds.npz"), str(work / "out.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results[label] = json.loads(done.stdout.splitlines()[-1])
        with np.load(work / "out.npz") as outputs:
            results[label]["snr_db"] = _agreement(model, feeds, dict(outputs))
    kernels: dict[str, int] = results["int8"]["kernels"]
    layers = {
        k: n for k, n in kernels.items() if k.split()[0] in ("Convolution", "FullyConnected", "Deconvolution")
    }
    integer = sum(count for kind, count in layers.items() if kind.endswith(("u8", "i8")))
    return {
        "ms_float": results["float"]["milliseconds"],
        "ms_int8": results["int8"]["milliseconds"],
        "layers_int8": integer,
        "layers": sum(layers.values()),
        "snr_db_against_onnxruntime": results["int8"]["snr_db"],
        "snr_db_float_against_onnxruntime": results["float"]["snr_db"],
    }


def _agreement(model: Path, feeds: Feeds, outputs: Mapping[str, np.ndarray]) -> float:
    """Signal to noise of the worst output against onnxruntime without optimisations, dB."""
    reference = runtime.Session(model, optimization="disabled").run(feeds)
    return min(_snr(value, outputs[name]) for name, value in reference.items())


def _snr(reference: np.ndarray, value: np.ndarray) -> float:
    noise = np.square(reference.astype(np.float64) - value).sum()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30)))


def run_model(name: str, corpus: Path, work: Path, python: Path | None) -> dict[str, Any]:
    """All figures of one model."""
    source, sizes = corpus / "models" / f"{name}.onnx", MODELS[name]
    shape = {key: tuple(map(int, text.split("x"))) for key, text in sizes.items()}
    common: dict[str, Any] = {"shape": shape, "latency": False, "threads": 1, "force": True}
    made: dict[str, Path] = {"input": source}
    for label, passes, target in (
        ("float", FREEZE, "ort-cpu"),
        ("int8", f"{FREEZE},quant:{PLAIN}", "ort-cpu"),
        ("all int8", f"{FREEZE},quant:{PLAIN}:measure=false", "ort-cpu"),
        ("openvino", f"{FREEZE},quant:{PLAIN}", "openvino"),
    ):
        made[label] = work / f"{name}-{label.replace(' ', '-')}.onnx"
        graphopt.optimize(str(source), passes, output=made[label], target=target, **common)
    made["onnxruntime u8s8"] = _peer(made["float"], work / f"{name}-peer.onnx", shape)
    feeds = _feeds(made["float"], shape)
    timed = {label: path for label, path in made.items() if label != "openvino"}
    row: dict[str, Any] = {"model": name, "latency_ms": latency_row(timed, feeds)}
    row |= {"fusion": fusion_row(made["int8"]), "fusion of all int8": fusion_row(made["all int8"])}
    if python is not None:
        row["openvino"] = openvino_row(python, made["float"], made["openvino"], feeds, work)
    return row


def _feeds(path: Path, shape: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    from graphopt import data
    from graphopt.pipeline.run.inputs import Inputs

    model = ir.load(path)
    sizes = Inputs(model, shapes=dict(shape)).shapes
    return dict(next(iter(data.synthetic(model.signature.inputs, sizes, 1, 7))).feeds)


def _peer(source: Path, path: Path, shape: Mapping[str, tuple[int, ...]]) -> Path:
    """onnxruntime's own static quantization in the setting that is fastest on x86: u8 by s8, by channel."""
    load_runtime()
    from onnxruntime.quantization import (  # type: ignore[import-untyped]
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = ir.load(source)
    if model.opset < 13:  # its call by channel writes invalid files below
        ir.convert_opset(model, 13)
        source = path.with_suffix(".opset13.onnx")
        model.save(source, force=True)
    samples = [_feeds(source, shape)] * 2

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = list(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(source, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **types)
    return path


@click.command()
@click.option("--openvino", "python", type=click.Path(path_type=Path), help="A Python that has openvino.")
@click.option("--corpus", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
@click.option("--model", "names", multiple=True, type=click.Choice(list(MODELS)), help="Only these models.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures to this file.")
def main(python: Path | None, corpus: Path, names: tuple[str, ...], json_path: Path | None) -> None:
    """INT8 by target, on the models of the corpus."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names or MODELS:
            rows.append(run_model(name, corpus, Path(folder), python))
            _print(rows[-1])
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _print(row: Mapping[str, Any]) -> None:
    times = ", ".join(f"{label} {time:.3f}" for label, time in row["latency_ms"].items())
    fusion = row["fusion"]
    print(f"{row['model']}: ms {times}")
    print(f"    fused {fusion['fused']} of {fusion['planned']}, float {fusion['float']}")
    if "openvino" in row:
        ov = row["openvino"]
        print(f"    openvino: ms float {ov['ms_float']:.3f}, int8 {ov['ms_int8']:.3f}", end="; ")
        print(f"layers on integers {ov['layers_int8']} of {ov['layers']}", end="; ")
        print(f"against onnxruntime {ov['snr_db_against_onnxruntime']:.1f} dB")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
