"""Run models in TVM: relax, untuned, on the CPU."""

from __future__ import annotations

import os

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from worker import Arrays, Job, serve


class Model:
    """A model compiled for this processor."""

    def __init__(self, job: Job) -> None:
        os.environ["TVM_NUM_THREADS"] = str(job.threads)
        sizes = {name: list(value.shape) for name, value in job.feeds.items()}
        module = from_onnx(onnx.load(job.path), shape_dict=sizes)
        target = tvm.target.Target({"kind": "llvm", "mcpu": _processor()})
        executable = tvm.compile(relax.get_pipeline("zero")(module), target)
        self._machine = relax.VirtualMachine(executable, tvm.cpu())
        self._inputs = list(job.feeds)
        self._names = job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        made = self._machine["main"](*(tvm.runtime.tensor(feeds[name]) for name in self._inputs))
        values = [made] if hasattr(made, "numpy") else list(made)
        return {name: value.numpy() for name, value in zip(self._names, values, strict=True)}


def _processor() -> str:
    """This processor as LLVM names it."""
    return str(tvm.get_global_func("target.llvm_get_system_cpu")())


if __name__ == "__main__":
    serve(tvm.__version__, Model)
