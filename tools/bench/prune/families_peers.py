"""What the peers make of the same networks: Torch-Pruning of the module, onnxsim of the exported file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

TORCH_SCRIPT = Path(__file__).with_name("families_torch.py")
ONNXSIM_SCRIPT = """
import sys, json, onnx, numpy, onnxruntime
from onnxsim import apply_structured_pruning, simplify
source, output, ratio = sys.argv[1], sys.argv[2], float(sys.argv[3])
widths = lambda model: [w[n.input[1]] for w in [{t.name: t.dims[0] for t in model.graph.initializer}]
                        for n in model.graph.node if n.op_type == "Conv" and n.input[1] in w]
size = lambda model: sum(int(numpy.prod(t.dims)) for t in model.graph.initializer)
try:
    model = simplify(onnx.load(source))[0]
    pruned = apply_structured_pruning(model, ratio)
    onnx.save(pruned, output)
    before, after = widths(model), widths(pruned)
    found = {"convs": len(before), "parameters_left": size(pruned) / size(model),
             "narrowed_convs": sum(a < b for a, b in zip(after, before))}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(output, options, providers=["CPUExecutionProvider"])
        session.run(None, {i.name: numpy.ones(i.shape, numpy.float32) for i in session.get_inputs()})
    except Exception as error:
        found["failure"] = "invalid: " + str(error)[:200]
except Exception as error:
    found = {"failure": type(error).__name__ + ": " + str(error)[:200]}
print(json.dumps(found))
"""


def torch_pruning(python: Path, name: str, ratio: float, seconds: int) -> dict[str, Any]:
    """Prune a torchvision network by Torch-Pruning."""
    return last_line([str(python), "-W", "ignore", str(TORCH_SCRIPT), name, str(ratio)], seconds)


def onnxsim(python: str, source: Path, output: Path, ratio: float, seconds: int) -> dict[str, Any]:
    """Prune an exported file by onnxsim's structured pruning."""
    return last_line([python, "-c", ONNXSIM_SCRIPT, str(source), str(output), str(ratio)], seconds)


def last_line(command: list[str], seconds: int) -> dict[str, Any]:
    """Run a command that ends in a line of JSON and return it; a failure has its reason under ``failure``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"failure": f"not done after {seconds} s"}
    lines = done.stdout.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        return {"failure": f"exit code {done.returncode}: {done.stderr.strip()[-200:]}"}
    return found
