"""What another package adds is found, listed, explained and used like our own, installed or by its folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
GOAL = "prune:ratio=0.5:round_to=1:repair=false"


@pytest.fixture(scope="module", params=["installed", "by path"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a process that knows the package.

    What an installer leaves behind is made here from the plugin's pyproject.toml, because a build back end
    may not be at hand: the package, and a dist-info with its name and entry points.
    """
    if request.param == "by path":
        return {"GRAPHOPT_PLUGINS": str(HERE)}
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
    return {"PYTHONPATH": str(folder)}


def graphopt(
    environment: dict[str, str], *arguments: object, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "graphopt", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def gelu(tmp_path: Path) -> Path:
    """Gemm -> BiasGelu (of onnxruntime) -> Gemm.

    Half of the 8 hidden channels have one enormous weight among tiny ones: large by norm, small by median.
    """
    rng = np.random.default_rng(0)
    first = rng.uniform(0.5, 1.0, (6, 8)).astype(np.float32)
    first[:, 4:] = 0.01
    first[0, 4:] = 50.0
    values = {
        "w": first,
        "b": rng.normal(size=8).astype(np.float32),
        "v": rng.normal(size=(8, 3)).astype(np.float32),
    }
    nodes = [
        oh.make_node("Gemm", ["x", "w"], ["h"], "first"),
        oh.make_node("BiasGelu", ["h", "b"], ["g"], "act", domain="com.microsoft"),
        oh.make_node("Gemm", ["g", "v"], ["y"], "last"),
    ]
    graph = oh.make_graph(
        nodes,
        "gelu",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 6])],
        [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])],
        [onh.from_array(value, name) for name, value in values.items()],
    )
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "gelu.onnx"
    onnx.save(oh.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def constants(path: Path) -> dict[str, np.ndarray]:
    """The weight of the first layer, the bias of the activation, and the weight of the last layer."""
    graph = onnx.load(path).graph
    values = {one.name: onh.to_array(one) for one in graph.initializer}
    return dict(zip("wbv", (values[node.input[1]] for node in graph.node), strict=True))


def test_a_pass_is_listed_and_explained(environment: dict[str, str]) -> None:
    listed = " ".join(graphopt(environment, "passes").stdout.split())
    assert "Rename every node to capital letters." in listed
    assert "what every name ends with" in graphopt(environment, "passes", "shout").stdout


def test_a_pass_runs_with_a_statistic_and_a_plot(
    environment: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    out, report, page = tmp_path / "out.onnx", tmp_path / "r.json", tmp_path / "r.html"
    flags = ("-o", out, "--no-latency", "--report", report, "--report", page)
    graphopt(environment, "optimize", tiny, "--passes", 'shout:suffix="?"', *flags)
    assert onnx.load(out).graph.node[0].name == "CONV?"
    (figure,) = next(p for p in json.loads(report.read_text())["passes"] if p["name"] == "shout")["figures"]
    assert figure["kind"] == "dial" and figure["data"]["value"] > 0
    assert "One number" in page.read_text() and f"{figure['data']['value']:.3g}</text>" in page.read_text()


def test_an_operator_carries_channels_and_its_bias_is_cut(
    environment: dict[str, str], gelu: Path, tmp_path: Path
) -> None:
    flags = ("--passes", f"{GOAL}:importance=l1", "--no-latency", "-o")
    graphopt({}, "optimize", gelu, *flags, tmp_path / "alone.onnx")
    assert constants(tmp_path / "alone.onnx")["b"].shape == (8,), "graphopt alone does not know the operator"
    graphopt(environment, "optimize", gelu, *flags, tmp_path / "out.onnx")
    assert {name: array.shape for name, array in constants(tmp_path / "out.onnx").items()} == {
        "w": (6, 4),
        "b": (4,),
        "v": (4, 3),
    }


def test_a_criterion_decides_what_goes(environment: dict[str, str], gelu: Path, tmp_path: Path) -> None:
    """The heavy-tailed channels are the important ones by their norm, and the others by their median."""
    kept = {}
    for name in ("l1", "median"):
        out = tmp_path / f"{name}.onnx"
        flags = ("--passes", f"{GOAL}:importance={name}", "--no-latency", "-o", out)
        graphopt(environment, "optimize", gelu, *flags)
        kept[name] = constants(out)["b"].tolist()
    before = constants(gelu)["b"].tolist()
    assert (kept["l1"], kept["median"]) == (before[4:], before[:4])
    assert "median" in graphopt(environment, "passes", "prune").stdout


def test_a_target_is_named_or_given_as_a_file(
    environment: dict[str, str], gelu: Path, tmp_path: Path
) -> None:
    """Five channels at a time: of eight, rounding to the target's block leaves five."""
    file = HERE / "graphopt_shout" / "megaphone.toml"
    for number, target in enumerate(("megaphone", file)):
        out = tmp_path / f"{number}.onnx"
        flags = ("--passes", "prune:ratio=0.3:repair=false:importance=l1", "--target", target)
        graphopt(environment, "optimize", gelu, *flags, "--no-latency", "-o", out)
        assert constants(out)["b"].shape == (5,)


def test_a_folder_is_given_on_the_command_line(tiny: Path, tmp_path: Path) -> None:
    flags = ("--passes", "shout", "--no-latency", "-o", tmp_path / "out.onnx")
    graphopt({}, "--plugin", HERE, "optimize", tiny, *flags)
    assert onnx.load(tmp_path / "out.onnx").graph.node[0].name == "CONV!"
    done = graphopt({}, "--plugin", tmp_path, "optimize", tiny, *flags, "--force", code=2)
    assert "has no pyproject.toml that can be read" in done.stderr and "Traceback" not in done.stderr


def test_a_metric_judges(environment: dict[str, str], gelu: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    x = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
    np.savez(data, x=x, labels=np.zeros(16, np.int64))
    done = graphopt(
        environment, "evaluate", gelu, "--data", f"{data}#x,labels", "--task", "first-class", "--json"
    )
    assert 0 <= json.loads(done.stdout)["metrics"]["first"] <= 1
