"""A pass from another package is found, listed, explained and run like ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin installed in it.

    What an installer leaves behind is made here from the plugin's pyproject.toml, because a build back end
    may not be at hand: the package, and a dist-info with its name and entry points.
    """
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    shutil.copytree(HERE / "graphopt_shout", folder / "graphopt_shout")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups)
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def graphopt(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "graphopt", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_it_is_listed_and_explained(site: Path) -> None:
    assert "Rename every node to capital letters." in " ".join(graphopt(site, "passes").stdout.split())
    assert "what every name ends with" in graphopt(site, "passes", "shout").stdout


def test_it_runs(site: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    graphopt(site, "optimize", tiny, "--passes", 'shout:suffix="?"', "-o", out, "--no-latency")
    assert onnx.load(out).graph.node[0].name == "CONV?"
