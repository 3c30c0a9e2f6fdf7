"""Run models in IREE, compiled by LLVM for this processor."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import iree.compiler.tools as compiler
import iree.runtime as runtime
import numpy as np
from worker import Arrays, Job, serve

FLAGS = ("--iree-llvmcpu-target-cpu=host",)


class Model:
    """A model as a module of IREE's virtual machine."""

    def __init__(self, job: Job) -> None:
        text = job.folder / "model.mlir"
        command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", job.path, "-o", str(text)]
        done = subprocess.run(
            [*command, "--opset-version", "21"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        made = compiler.compile_file(
            str(text), target_backends=["llvm-cpu"], input_type="onnx", extra_args=list(FLAGS)
        )
        device = "local-sync" if job.threads == 1 else "local-task"
        config = runtime.Config(device)
        module = runtime.VmModule.copy_buffer(config.vm_instance, made)
        self._module = runtime.load_vm_module(module, config)
        names = [name for name in self._module.vm_module.function_names if not name.startswith("__")]
        self._function = getattr(self._module, next(n for n in names if not n.endswith("$async")))
        self._inputs = list(job.feeds)
        self._names = job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        made = self._function(*(feeds[name] for name in self._inputs))
        values = list(made) if isinstance(made, (tuple, list)) else [made]
        return {name: value.to_host() for name, value in zip(self._names, values, strict=True)}


if __name__ == "__main__":
    serve(version("iree-base-runtime"), Model)
