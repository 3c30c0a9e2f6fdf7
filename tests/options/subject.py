"""The small model that options are tried on, its samples, and what a run left behind."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import graphopt
from graphopt.errors import GraphoptError
from graphopt.pipeline.contract.options import to_text
from tests.corpus._net import Net, ints

Values = Mapping[str, Any]
SAMPLES, CLASSES = 24, 5


def build() -> onnx.ModelProto:
    """A classifier x[N,3,6,6] -> y[N,5] with something for every option: see the names of its layers.

    It has a residual connection, a depthwise layer, a normalisation that no layer takes up, a function that
    is spelled out, constants to fold, an initializer that is an input too, and wide matrices.
    """
    net = Net(3)
    x = net.input(shape=("N", 3, 6, 6))
    stem = net.conv(x, (24, 3, 3, 3), pads=[1] * 4, name="stem")
    stem = net.op("Relu", net.bn(stem, 24, name="stem_bn"))
    y = net.op("Relu", net.conv(stem, (32, 24, 3, 3), bias=True, pads=[1] * 4, name="body1"))
    y = net.conv(y, (24, 32, 1, 1), bias=True, name="body2")
    y = net.op("Relu", net.op("Add", stem, y))
    y = net.conv(y, (24, 1, 3, 3), group=24, bias=True, name="depthwise")
    half = net.op("Add", net.op("Erf", net.op("Div", y, net.array(2**0.5))), net.array(1.0))
    y = net.op("Mul", net.op("Mul", y, half), net.array(0.5))  # GELU
    y = net.bn(net.op("Softplus", y), 24, name="lone_bn")
    y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Tanh", y)))
    y = net.op("MatMul", y, net.random(24, 64, name="wide.weight"), name="wide")
    y = net.op("Tanh", net.op("Add", y, net.op("Expand", net.random(1, low=0.1, name="shift"), ints(1, 64))))
    y = net.gemm(y, (64, CLASSES), bias=(CLASSES,), name="head")
    return net.model(y, opset=17, listed=["head.bias"])


def write(folder: Path) -> tuple[Path, Path]:
    """Write the model and labelled samples."""
    model, data = folder / "model.onnx", folder / "data.npz"
    onnx.save(build(), model)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((SAMPLES, 3, 6, 6)).astype(np.float32)
    np.savez(data, x=images, labels=rng.integers(0, CLASSES, SAMPLES))
    return model, data


@dataclass(frozen=True)
class Left:
    """What a run left: ``refused`` is the sentence of a usage error, ``broken`` of any other end."""

    digest: str = ""
    refused: str = ""
    broken: str = ""
    model: onnx.ModelProto | None = None
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def spec(pass_name: str, values: Values) -> str:
    """The spec text of a pass with these options."""

    def text(value: Any) -> str:
        written = to_text(value)
        parts = written if isinstance(written, tuple) else (written,)
        return "|".join(f'"{part}"' if set(part) & set(":,|=") else part for part in parts)

    return ":".join([pass_name, *(f"{name}={text(value)}" for name, value in values.items())])


def run(pass_name: str, values: Values, sources: tuple[Path, Path], folder: Path) -> Left:
    """Run a pass with options in an empty folder; files that options name land there."""
    folder.mkdir()
    output = folder / "out.onnx"
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = graphopt.optimize(
            sources[0],
            spec(pass_name, values),
            calibration=str(sources[1]),
            output=output,
            latency=False,
            threads=1,
        )
    except GraphoptError as error:
        text = str(error)
        sentence = bool(text) and "\n" not in text
        return (
            Left(refused=text)
            if error.exit_code == 2 and sentence
            else Left(broken=f"{error.exit_code}: {text}")
        )
    except Exception as error:  # the point of the test: any other exception is a fault
        return Left(broken=f"{type(error).__name__}: {error}")
    finally:
        os.chdir(before)
    written = onnx.load(output)
    files = tuple(sorted(path.name for path in folder.iterdir() if path != output))
    opset = [(entry.domain, entry.version) for entry in written.opset_import]
    digest = hashlib.sha256(written.graph.SerializeToString(deterministic=True)).hexdigest()[:16]
    contents = "".join(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files)
    return Left(
        f"{digest} {opset} {files} {contents}",
        model=written,
        files=files,
        warnings=tuple(result.report.warnings),
    )
