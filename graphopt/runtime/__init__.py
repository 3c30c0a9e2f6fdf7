"""Everything that runs a model: sessions, trial sizes, latency, folding, comparison of outputs.

The only room that touches onnxruntime, which is imported when something first runs.
"""

from graphopt.runtime.agreement import Accuracy, Agreement, classifier_output, declared_classes, ranks
from graphopt.runtime.difference import Comparison, Difference, Verdict, differences
from graphopt.runtime.fold import evaluate
from graphopt.runtime.fusion import kernels, optimized
from graphopt.runtime.host import Machine, machine, pair_sums
from graphopt.runtime.probe import tensor_shapes
from graphopt.runtime.profile import Kernel, ProfiledSession, profile
from graphopt.runtime.sample_fitting import checked, fit_samples, plausible_samples
from graphopt.runtime.session import Session, check_session
from graphopt.runtime.source import fingerprint
from graphopt.runtime.timing import Latency, PairedLatency, latency, paired_latency
from graphopt.runtime.trial import TrialShapes, trial_shapes

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
    "TrialShapes",
    "Verdict",
    "check_session",
    "checked",
    "classifier_output",
    "declared_classes",
    "differences",
    "evaluate",
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
