"""Distillation: `distill` trains a changed model towards its original, in an environment of its own.

In the order of a run: spec -> graph (with qat and gradients) -> data -> job -> backends (worker).

- ``api``: The Python functions behind the command: train a student towards a teacher.
- ``backends``: Trainers behind one protocol.
- ``commands``: The commands `distill` and `trainer`.
- ``data``: What training is fed with: samples, the teacher's answers, changed images.
- ``distill``: The pass: train the weights of the model towards those answers that the run began with.
- ``gradients``: Operators without a right gradient, written with those that have one.
- ``graph``: From a student to the graph that a trainer differentiates, and from trained parameters back.
- ``job``: One distillation: its job folder, its progress, and the judgement of the student.
- ``qat``: Students that are quantized already.
- ``spec``: What a training run is asked for.
- ``trainer``: The environment that trains, and a test that it works.
- ``worker``: The training worker: run by the interpreter of a training environment, which knows nothing of
  graphopt.
"""

from graphopt.passes.distill.api import distill
from graphopt.passes.distill.distill import Distill

__all__ = ["Distill", "distill"]
