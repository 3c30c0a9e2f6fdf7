"""The other tools: the environment they live in, and the command line each of them is called with.

Every tool runs with its defaults, as its documentation shows it.  The environment lies outside the checkout
and holds named versions, so two people compare with the same peers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VERSIONS = {
    "onnxslim": "0.1.98",
    "onnxsim": "0.8.1",
    "onnxoptimizer": "0.4.2",
    "onnxscript": "0.7.2",
    "onnx": "1.23.2",
    "onnxruntime": "1.31.1",
}
DEFAULT_ENVIRONMENT = Path.home() / ".cache" / "graphopt" / "bench"

SCRIPT_REWRITE = """
import sys, onnx, onnxscript.optimizer, onnxscript.rewriter
model = onnxscript.optimizer.optimize(onnx.load(sys.argv[1]))
onnx.save(onnxscript.rewriter.rewrite(model), sys.argv[2])
"""
OFFLINE_OPTIMIZATION = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, "ORT_ENABLE_" + sys.argv[3])
options.optimized_model_filepath = sys.argv[2]
options.intra_op_num_threads = 1
options.log_severity_level = 3
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds the peers."""

    root: Path = DEFAULT_ENVIRONMENT

    @property
    def python(self) -> str:
        """Path of the environment's interpreter."""
        return str(self._bin / ("python.exe" if sys.platform == "win32" else "python"))

    @property
    def _bin(self) -> Path:
        return self.root / ("Scripts" if sys.platform == "win32" else "bin")

    def script(self, name: str) -> str:
        """Path of a console script of the environment."""
        return str(self._bin / name)

    def installed(self) -> dict[str, str]:
        """Versions of the peers found here; empty when the environment does not exist."""
        if not Path(self.python).exists():
            return {}
        query = [self.python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
        answer = subprocess.run(query, capture_output=True, text=True, check=True)
        found = {row["name"].lower().replace("_", "-"): row["version"] for row in json.loads(answer.stdout)}
        return {name: found[name] for name in VERSIONS if name in found}

    def ensure(self) -> None:
        """Create the environment and install the named versions, unless they are all there."""
        if self.installed() == VERSIONS:
            return
        if not Path(self.python).exists():
            subprocess.run([sys.executable, "-m", "venv", str(self.root)], check=True)
        wanted = [f"{name}=={version}" for name, version in VERSIONS.items()]
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *wanted], check=True)


@dataclass(frozen=True)
class Peer:
    """A tool that turns one ONNX file into a smaller graph.

    ``command`` builds its command line from the environment, the input and the output file.
    ``reference`` is False for a tool that is shown only: its output is meant for one runtime.
    """

    name: str
    command: Callable[[Environment, str, str], list[str]]
    reference: bool = True


def _offline(level: str) -> Callable[[Environment, str, str], list[str]]:
    return lambda env, source, output: [env.python, "-c", OFFLINE_OPTIMIZATION, source, output, level]


PEERS = (
    Peer("onnxslim", lambda env, source, output: [env.script("onnxslim"), source, output]),
    Peer("onnxsim", lambda env, source, output: [env.script("onnxsim"), source, output]),
    Peer("onnxoptimizer", lambda env, source, output: [env.python, "-m", "onnxoptimizer", source, output]),
    Peer("onnxscript", lambda env, source, output: [env.python, "-c", SCRIPT_REWRITE, source, output]),
    Peer("onnxruntime basic", _offline("BASIC")),
    Peer("onnxruntime extended", _offline("EXTENDED"), reference=False),
)


def chosen(names: tuple[str, ...]) -> tuple[Peer, ...]:
    """The peers with these names, in the order of the table; all of them when no name is given."""
    return tuple(peer for peer in PEERS if not names or peer.name in names)
