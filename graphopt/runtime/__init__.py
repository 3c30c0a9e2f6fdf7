"""Everything that runs a model: sessions, trial sizes, latency, folding, comparison of outputs.

The only room that touches onnxruntime, which is imported when something first runs.

- ``agreement``: How often a classifier agrees with a reference or with labels, counted sample by sample.
- ``difference``: How far the outputs of two models are apart, accumulated sample by sample.
- ``failures``: Turn what onnxruntime raises into one sentence: what failed, in which model, what to do.
- ``in_order``: Run a model on several samples at a time, and hand on what it answers in the order of the
  samples.
- ``inputs``: Sizes and samples that a model runs on, found by running it.
- ``machine_info``: Name the machine that measures: processor, instruction set, threads, onnxruntime version.
- ``model_source``: Give onnxruntime a model in a form it can open: bytes, or a file that lives as long as it
  is needed.
- ``optimizer``: See a model the way onnxruntime runs it, after its own graph optimisations.
- ``ort_values``: Values of types that numpy lacks, as onnxruntime holds them: bfloat16, float8, int4 and the
  like.
- ``probe``: Ask a running model for the shapes of its inner tensors.
- ``profiler``: Time every kernel of a model by itself, with onnxruntime's own profiler.
- ``session``: Run a model with onnxruntime.
- ``timing``: Measure how long a model takes, alone or paired with another in interleaved runs.
"""

from graphopt.runtime.agreement import Accuracy, Agreement, classifier_output, declared_classes, ranks
from graphopt.runtime.difference import Comparison, Difference, Verdict, differences
from graphopt.runtime.inputs.samples import checked, fit_samples, plausible_samples
from graphopt.runtime.inputs.shapes import TrialShapes, trial_shapes
from graphopt.runtime.machine_info import Machine, machine, pair_sums
from graphopt.runtime.model_source import fingerprint
from graphopt.runtime.optimizer import kernels, optimized
from graphopt.runtime.probe import tensor_shapes
from graphopt.runtime.profiler import Kernel, ProfiledSession, profile
from graphopt.runtime.session import Session, SessionOptions, check_session
from graphopt.runtime.timing import Latency, PairedLatency, latency, paired_latency

__all__ = [
    "Accuracy",
    "Agreement",
    "Comparison",
    "Difference",
    "Kernel",
    "Latency",
    "Machine",
    "PairedLatency",
    "ProfiledSession",
    "Session",
    "SessionOptions",
    "TrialShapes",
    "Verdict",
    "check_session",
    "checked",
    "classifier_output",
    "declared_classes",
    "differences",
    "fingerprint",
    "fit_samples",
    "kernels",
    "latency",
    "machine",
    "optimized",
    "pair_sums",
    "paired_latency",
    "plausible_samples",
    "profile",
    "ranks",
    "tensor_shapes",
    "trial_shapes",
]
