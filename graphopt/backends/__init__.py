"""The runtimes that files are deployed to: installed beside graphopt, run in processes of their own.

- ``answer``: What a backend answers about the models that it was asked to run.
- ``backend``: The backends that graphopt can run models in, and what installs each.
- ``environment``: Where a backend is installed, in which version, and the command that installs it.
- ``runner``: Run model files in a backend, in a process of its own.
- ``agreement``: Hold a backend's answers to onnxruntime's on the same file.
- ``workers``: The scripts that run in the Python, or the node, of each backend.
"""

from graphopt.backends.agreement import Agreement, agreement
from graphopt.backends.answer import Answer, Kernels, RunResult
from graphopt.backends.backend import BACKENDS, Backend, find
from graphopt.backends.environment import Installed, install, installed, require
from graphopt.backends.runner import Entry, run

__all__ = [
    "BACKENDS",
    "Agreement",
    "Answer",
    "Backend",
    "Entry",
    "Installed",
    "Kernels",
    "RunResult",
    "agreement",
    "find",
    "install",
    "installed",
    "require",
    "run",
]
