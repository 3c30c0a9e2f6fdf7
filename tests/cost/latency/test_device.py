"""Time on a device: what a command prints is read, whatever it does otherwise is a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt import ir
from graphopt.backends import Backend, Entry, Installed, RunResult
from graphopt.backends.answer import Answer
from graphopt.cost import BackendDevice, CommandDevice, LatencyTable, LayerShape
from graphopt.cost.latency import device as module
from graphopt.errors import ModelError, UsageError
from tests.passes.quant.small import residual_file

LAYERS = [
    LayerShape("Conv", (1, 8, 6, 6), (16, 8, 3, 3)),
    LayerShape("Gemm", (1, 8), (8, 4)),
    LayerShape("MaxPool", (1, 8, 6, 6), (), (("kernel_shape", (2, 2)),)),
]


def command(folder: Path, code: str) -> str:
    script = folder / "bench it.py"
    script.write_text(code)
    return f"{sys.executable} '{script}' {{model}}"


def timed(folder: Path, code: str) -> list[float]:
    model = ir.load(residual_file(folder))
    return CommandDevice(command(folder, code)).milliseconds([model], [{}])


def test_the_last_number_counts(tmp_path: Path) -> None:
    assert timed(tmp_path, "print('5 warm-up runs'); print('median 3.25 ms')") == [3.25]
    assert timed(tmp_path, "print(1.5e-1)") == [0.15]


def test_the_command_gets_a_model_that_loads(tmp_path: Path) -> None:
    code = "import onnx, sys; print(len(onnx.load(sys.argv[1]).graph.node))"
    assert timed(tmp_path, code)[0] > 5


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('no idea')", "prints no number of milliseconds, but 'no idea'"),
        ("pass", "prints no number of milliseconds, but 'nothing'"),
        ("print(-3)", "prints no number"),
        ("print('inf')", "prints no number"),
        ("import sys; sys.exit('the board is off')", "ended with 1 and says: the board is off"),
    ],
)
def test_what_goes_wrong_is_a_sentence(tmp_path: Path, code: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        timed(tmp_path, code)


def test_a_command_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    with pytest.raises(ModelError, match="did not end within"):
        timed(tmp_path, "import time; time.sleep(30)")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bench", "has no {model}"),
        ("", "is empty"),
        ("bench '{model}", "cannot be read"),
        ("/no/such/program {model}", "cannot be started"),
    ],
)
def test_a_command_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        CommandDevice(text).milliseconds([ir.load(residual_file(tmp_path))], [{}])


def test_names_never_reach_a_shell(tmp_path: Path) -> None:
    """Neither that of the model, which is a copy's, nor what the template holds: nothing expands it."""
    folder = tmp_path / "a; touch pwned #"
    folder.mkdir()
    path = residual_file(folder)
    code = "import sys; open(sys.argv[2], 'w').write(sys.argv[1]); print(1.0)"
    seen = tmp_path / "seen"
    template = f"{command(tmp_path, code)} {seen}"
    graphopt.optimize(path, "clean", measure_command=template, threads=1)
    name = seen.read_text()
    assert module._SAFE.fullmatch(name) and "pwned" not in name
    assert not list(tmp_path.rglob("pwned"))
    echoed = CommandDevice(f"{command(tmp_path, 'import sys; print(len(sys.argv[2]))')} $(whoami)`id`")
    assert echoed.milliseconds([ir.load(path)], [{}]) == [float(len("$(whoami)`id`"))]


def test_a_run_reports_the_times_of_the_device(tmp_path: Path) -> None:
    code = "import onnx, sys; print(100 * len(onnx.load(sys.argv[1]).graph.initializer))"
    result = graphopt.optimize(
        residual_file(tmp_path), "prune:macs=0.6", measure_command=command(tmp_path, code), threads=1
    )
    assert (result.report.before.latency_ms or 0) % 100 == 0 and (result.report.after.latency_ms or 0) >= 100


def test_layers_of_a_device_are_measured_once_and_kept_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"open({str(log)!r}, 'a').write('x'); print(2.0)"
    device = CommandDevice(command(tmp_path, code))
    cache = tmp_path / "cache"
    first = LatencyTable.open(cache, 1, device=device).milliseconds(LAYERS)
    np.testing.assert_array_equal(first, [2.0] * 3)
    calls = len(log.read_text())
    assert calls == len(LAYERS) + 1  # and the reference layer
    LatencyTable.open(cache, 1, device=device).milliseconds(LAYERS)
    assert len(log.read_text()) == calls
    assert LAYERS[0] not in LatencyTable.open(cache, 1)  # onnxruntime's table is another
    assert LAYERS[0] not in LatencyTable.open(cache, 1, device=CommandDevice("other {model}"))


def test_a_backend_times_many_layers_in_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def run(where: Installed, entries: list[Entry], **_: object) -> RunResult:
        calls.append(len(entries))
        assert all(entry.path.exists() for entry in entries)
        return RunResult("1", tuple(Answer({}, milliseconds=(1.0, 4.0, 2.0)) for _ in entries))

    monkeypatch.setattr(module.backends, "run", run)
    where = Installed(Backend("toy", "Toy", "toy", "run_toy.py", ()), "1", Path(sys.executable), None)
    table = LatencyTable.open(None, 1, device=BackendDevice(where))
    shapes = [LayerShape("Conv", (1, 8, 6, 6), (n, 8, 1, 1)) for n in range(1, 30)]
    np.testing.assert_array_equal(table.milliseconds(shapes), [2.0] * 29)
    assert calls == [24, 6]


def test_a_backend_that_refuses_a_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module.backends, "run", lambda *_, **__: RunResult("1", (Answer(error="no such layer"),) * 4)
    )
    where = Installed(Backend("toy", "Toy", "toy", "run_toy.py", ()), "1", Path(sys.executable), None)
    with pytest.raises(ModelError, match="Toy cannot be timed: no such layer"):
        LatencyTable.open(None, 1, device=BackendDevice(where)).milliseconds(LAYERS)
