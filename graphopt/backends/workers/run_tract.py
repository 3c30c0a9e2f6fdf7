"""Run models in tract."""

from __future__ import annotations

import os

import numpy as np
import tract
from worker import Arrays, Job, serve


class Model:
    """A model as tract optimises it for the sizes of its feeds."""

    def __init__(self, job: Job) -> None:
        os.environ["RAYON_NUM_THREADS"] = str(job.threads)
        model = tract.onnx().load(job.path)
        self._inputs = [model.input_name(i) for i in range(model.input_count())]
        for index, name in enumerate(self._inputs):
            value = job.feeds[name]
            sizes = ",".join(str(size) for size in value.shape)
            model.set_input_fact(index, f"{sizes},{_KINDS.get(value.dtype.name, value.dtype.name)}")
        names = [model.output_name(i) for i in range(model.output_count())]
        self._runnable = model.into_model().into_runnable()
        self._names = job.outputs if len(names) == len(job.outputs) else names

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        made = self._runnable.run([feeds[name] for name in self._inputs])
        return {name: value.to_numpy() for name, value in zip(self._names, made, strict=True)}


_KINDS = {
    "float32": "f32",
    "float16": "f16",
    "int64": "i64",
    "int32": "i32",
    "uint8": "u8",
    "int8": "i8",
    "bool": "bool",
}


if __name__ == "__main__":
    serve(str(tract.version()), Model)
