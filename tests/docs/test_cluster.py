"""The Python examples of docs/cluster.md run as they stand, on a cluster of this machine: the same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cluster.md"
# What submits jobs elsewhere is stood in for by a cluster of this machine with the same methods.
STAND_IN = """
from distributed import LocalCluster

def made(**settings):
    return LocalCluster(n_workers=settings.get("n_workers", 0), threads_per_worker=1, dashboard_address=None)

SLURMCluster = KubeCluster = made
"""


@pytest.mark.slow
def test_examples_run_and_write_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    shutil.copytree(ROOT / "models", tmp_path / "models")
    (tmp_path / "dask_jobqueue.py").write_text(STAND_IN.strip())
    (tmp_path / "dask_kubernetes").mkdir()
    (tmp_path / "dask_kubernetes/__init__.py").touch()
    (tmp_path / "dask_kubernetes/operator.py").write_text(STAND_IN.strip())
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(examples) == 3
    for number, example in enumerate(examples):
        script = tmp_path / f"example{number}.py"
        script.write_text(example.replace("cluster.scale(jobs=2)", "cluster.scale(2)"))
        subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True, timeout=300)
    written = [(tmp_path / f"{name}.onnx").read_bytes() for name in ("dask", "slurm", "kubernetes")]
    command = re.search(r"^graphopt optimize models/.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert command is not None
    subprocess.run(f"{sys.executable} -m {command[0]}", shell=True, cwd=tmp_path, check=True, timeout=300)
    assert {*written} == {(tmp_path / "workers.onnx").read_bytes()}
