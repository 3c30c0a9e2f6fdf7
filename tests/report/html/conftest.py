"""What tests of pages share: reports and inspections of any size, made up but of the real form; a browser."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.analysis.inspection import Inspection
from graphopt.analysis.layer_costs import LayerCost, Timing
from graphopt.ir import Port
from graphopt.record.front import Front, FrontPoint, FrontTrial
from graphopt.record.record import Measures
from graphopt.record.sensitivity import Point, Sensitivity

Document = dict[str, Any]


def make_document(layers: int = 24, *, name: str = "layer", figures: bool = True) -> Document:
    """A report of a residual net: every third layer reads one further back."""
    rows = [_layer(i, name) for i in range(layers)]
    changes = [{"node": row["name"], "what": "64 -> 48 output channels"} for row in rows[::4]]
    skips = [{"node": row["name"], "reason": "a reason of its own"} for row in rows[1::4]]
    plots = [
        {
            "kind": "spectrum",
            "title": "s",
            "node": f"{name}0",
            "data": {"values": [3.0, 1.0, 0.1], "rank": 2, "of": 3},
        },
        {
            "kind": "histogram",
            "title": "h",
            "node": "t",
            "data": {"low": -1.0, "high": 1.0, "counts": [1, 5, 0], "thresholds": [-0.5, 0.5]},
        },
        {
            "kind": "lines",
            "title": "l",
            "node": "",
            "data": {
                "x": [0, 1],
                "series": [{"name": "a", "y": [1.0, None]}],
                "x_label": "x",
                "y_label": "y",
                "marks": [{"x": 1, "label": "here"}],
            },
        },
        {"kind": "bars", "title": "b", "node": "", "data": {"names": ["a"], "values": [1.0], "y_label": "v"}},
    ]
    prune = {
        "name": "prune",
        "options": {"macs": 0.7, "exclude": []},
        "added": False,
        "seconds": 1.0,
        "changes": changes,
        "skips": skips,
        "nodes": 20,
        "parameters": 700,
        "bytes": 2800,
        "snr_db": 30.0,
        **({"figures": plots} if figures else {}),
    }
    clean = {
        "name": "clean",
        "options": {},
        "added": True,
        "seconds": 0.1,
        "changes": [],
        "skips": [],
        "max_abs_diff": 0.0,
    }
    measures = {"nodes": 24, "constants": 0, "parameters": 1000, "macs": 5000, "bytes": 4000}
    return {
        "schema": 1,
        "graphopt": "1.0",
        "command": ["graphopt", "optimize", f"{name}.onnx"],
        "input": f"{name}.onnx",
        "output": "out.onnx",
        "model_sha256": "a" * 64,
        "output_sha256": "b" * 64,
        "target": "ort-cpu",
        "seed": 0,
        "shapes": {"x": [1, 3, 8, 8]},
        "preprocess": {"size": 8},
        "machine": {"cpu": "cpu", "isa": "avx2", "threads": 1, "onnxruntime": "1.0"},
        "calibration": {
            "source": "synthetic",
            "samples": 8,
            "labels_used": False,
            "training_used": False,
            "shared_with_evaluation": 0,
        },
        "before": {**measures, "latency_ms": 2.0, "metrics": {"top1": 0.9}},
        "after": {
            **measures,
            "parameters": 700,
            "macs": 3000,
            "bytes": 2800,
            "latency_ms": 1.0,
            "metrics": {"top1": 0.89},
        },
        "agreement": {"top1": 0.97, "snr_db": {"y": 25.0}},
        "passes": [clean, prune],
        "warnings": ["mind this"],
        "missed": [],
        "stages": [
            {"name": "input", "nodes": 24, "parameters": 1000, "bytes": 4000, "macs": 5000},
            {"name": "clean", "nodes": 24, "parameters": 1000, "bytes": 4000, "macs": 5000},
            {"name": "prune", "nodes": 24, "parameters": 700, "bytes": 2800, "macs": 3000},
        ],
        "layers": rows,
    }


def _layer(i: int, name: str) -> dict[str, Any]:
    reads = [i - 1] if i else []
    if i % 3 == 0 and i >= 4:
        reads.insert(0, i - 4)
    macs = 0 if i % 2 else 100 * (i + 1)
    return {
        "name": f"{name}{i}",
        "op": "Relu" if i % 2 else "Conv",
        "shape": [1, 64, 8, 8],
        "reads": reads,
        "state": "removed" if i % 7 == 5 else "kept",
        "channels": [64, 48 if i % 4 == 0 else 64],
        "macs": [macs, macs * 3 // 4],
        "parameters": [macs, macs],
        "snr_db": None if i % 5 == 0 else 50.0 - i % 50,
        "latency_ms": None,
    }


def make_matched(layers: int = 24) -> Document:
    """A report whose names have blocks, with the result's graph, what nodes are made of, and inputs."""
    made = make_document(layers, name="/net/layer")
    for i, layer in enumerate(made["layers"]):
        layer["name"] = f"/net/block{i // 6}/layer{i}"
        layer["latency_ms"] = [0.01, 0.01 if i % 5 else 0.03]
    kept = [i for i, layer in enumerate(made["layers"]) if layer["state"] == "kept"]
    for i, layer in enumerate(made["layers"]):
        stands = layer["state"] == "kept"
        layer["reads_after"] = (
            [max(j for j in kept if j < i)] if stands and i > kept[0] else [] if stands else None
        )
        weight = {"name": f"w{i}", "dtype": "float32", "shape": [64, 64, 3, 3], "least": -1.0, "most": 1.0}
        facts = {
            "inputs": [f"t{i - 1}", f"w{i}"],
            "outputs": [f"t{i}"],
            "attributes": {"kernel_shape": "3, 3"},
            "weights": [{**weight, "mean": 0.0, "std": 0.5, "zeros": 0.25}],
        }
        layer["facts"] = [facts, {**facts, "attributes": {"kernel_shape": "1, 1"}} if stands else None]
    for entry in made["passes"][1:]:
        entry["changes"] = [{"node": made["layers"][i]["name"], "what": "64 -> 48"} for i in kept[::4]]
        entry["skips"] = []
    made["divergent"] = [
        {"name": "photo", "snr_db": 3.0, "before": 1, "after": 2, "label": 1, "image": PIXEL}
    ]
    made["judged_on"] = {"source": "photos", "samples": 64, "sha256": "d" * 64}
    return made


PIXEL = (  # a PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def matched() -> Callable[..., Document]:
    """Makes report files with all that a page can show."""
    return make_matched


@pytest.fixture
def document() -> Callable[..., Document]:
    """Makes report files."""
    return make_document


def make_inspection(layers: int = 24, *, name: str = "layer", timed: bool = True) -> Inspection:
    """A chain of convolutions and activations, each skipping back now and then; activations are fused."""
    listed = tuple(_cost(i, name, timed) for i in range(layers))
    reads = tuple((i - 4, i - 1) if i % 3 == 0 and i >= 4 else (i - 1,) if i else () for i in range(layers))
    host = {"cpu": f"{name} cpu", "isa": "avx2", "threads": 1, "onnxruntime": "1.0"}
    return Inspection(
        path=f"models/{name}.onnx",
        ir_version=8,
        opsets={"": 17, f"{name}.domain": 1},
        inputs=(Port(f"{name} in", np.dtype("float32"), ("batch", 3, 8, 8)),),
        outputs=(Port(f"{name} out", np.dtype("float32"), None),),
        ops={f"{name}Conv": (layers + 1) // 2, "Relu": layers // 2},
        shapes={f"{name} in": (1, 3, 8, 8)},
        measures=Measures(layers, 0, 1000, 5000, 4000, 2.0 if timed else None),
        layers=listed,
        reads=reads,
        timing=Timing(2.0, {"Reorder": 0.1}, 6e10, 1e10, host) if timed else None,
        ranges={f"{name} in": (-1.0, 1.0)},
        samples=8,
        preprocess={"size": name},
        warnings=(f"mind {name}",),
    )


def _cost(i: int, name: str, timed: bool) -> LayerCost:
    conv = i % 2 == 0
    layer = LayerCost(
        name=f"{name}{i}",
        op=f"{name}Conv" if conv else "Relu",
        inputs=((1, 64, 8, 8),),
        outputs=((1, 64, 8, 8),),
        parameters=100 * conv,
        macs=1000 * (i + 1) * conv,
        tensor=f"{name} t{i}",
        bytes=32_768,
    )
    if not (timed and conv):
        return layer
    costs = {"latency_ms": 0.01 * (i + 1), "share": 0.001 * (i + 1), "bound": "memory", "efficiency": 0.5}
    hint = f"memory: prune {name}" if i % 4 == 0 else ""
    return dataclasses.replace(layer, **costs, hint=hint, absorbed=(f"{name}{i + 1}",))


def make_study(parts: int = 12, *, name: str = "/net/layer") -> Sensitivity:
    """A study of parts at three levels, of which the last part has one."""
    points = [
        Point(
            f"{name}{i}", level, snr_db=60 - i - 40 * level, disagreement=20 * level * (i % 7), macs=900 - i
        )
        for i in range(parts)
        for level in ((0.25, 0.5, 0.875) if i < parts - 1 else (0.5,))
    ]
    failed = Point(f"{name}0", 1.0, error=f"{name} failed")
    host = {"cpu": "cpu", "isa": "avx2", "threads": 1, "onnxruntime": "1.0"}
    return Sensitivity(
        f"{name}.onnx", "prune:macs=0.7", 64, "photos", (*points, failed), 1000, 500, machine=host
    )


@pytest.fixture
def study() -> Callable[..., Sensitivity]:
    """Makes sensitivity studies."""
    return make_study


def make_front(*, name: str = "layer", command: str = "graphopt optimize in.onnx") -> Front:
    """A front of four points, one of them beaten, that prune and quant make."""
    trials = [
        FrontTrial(
            0.2 + 0.1 * i, 4.0 / (1 + i), 5.0 / (1 + i), 3.0, 0.01 / (1 + i), {"prune": 4 - i, "quant": 9}
        )
        for i in range(4)
    ]
    points = tuple(
        FrontPoint(
            name=f"{i + 1:02}",
            trial=trial,
            latency=0.21 + 0.1 * i,
            latency_spread=0.01,
            macs=0.5 + 0.1 * i,
            bytes=0.2 + 0.05 * i,
            lost=0.5 * (3 - i),
            lost_low=-0.1,
            lost_high=0.5 * (3 - i) + 0.4,
            metrics={"top1": (0.9, 0.89)},
            sqnr_db=20.0 + i,
            changes=(("prune", f"{name}{i}", "64 -> 48 output channels"), ("quant", name, "8 bits")),
            warnings=("a warning",) if i == 0 else (),
            sha256="0" * 64,
            output=f"{i + 1:02}.onnx",
            plan=f"{i + 1:02}.plan.json",
            command=command,
            is_beaten=i == 2,
        )
        for i, trial in enumerate(trials)
    )
    return Front(
        graphopt="0",
        model=f"{name}.onnx",
        model_sha256="f" * 64,
        passes="prune,quant:bits=8",
        target="ort-cpu",
        saves="latency",
        judged_by="top-1 loss",
        samples=128,
        evaluation=512,
        points=points,
        alone={"prune": tuple(trials[:2]), "quant": ()},
        trials=tuple(trials),
        bytes=1000,
        latency_ms=1.5,
        machine={"cpu": "a cpu", "threads": 1, "isa": "avx2", "onnxruntime": "1"},
        said=("the time limit ended the search",),
    )


@pytest.fixture
def front() -> Callable[..., Front]:
    """Makes fronts."""
    return make_front


@pytest.fixture
def inspection() -> Callable[..., Inspection]:
    """Makes inspections."""
    return make_inspection


class Tab:
    """A page in a real browser; remembers everything it complained about."""

    def __init__(self, page: Any, home: str = "file:") -> None:
        self.page = page
        self._home = home
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: self._heard(request.url))

    def _heard(self, url: str) -> None:
        if not url.startswith((self._home, "data:")):
            self.complaints.append(f"asked for {url}")

    def serious(self) -> list[str]:
        """The serious violations of accessibility that axe-core finds on the page."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        violations = axe.run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:120]}"
            for one in violations
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:3]
        ]

    def show(self, folder: Path, text: str) -> Any:
        """Open a page from a file."""
        path = folder / "page.html"
        path.write_text(text, encoding="utf-8")
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no chromium on this machine")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install graphopt[browser]")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def tab(request: pytest.FixtureRequest, _chromium: Any) -> Iterator[Tab]:
    """A tab of the size of a phone, in light and in dark."""
    context = _chromium.new_context(viewport={"width": 390, "height": 800}, color_scheme=request.param)
    yield Tab(context.new_page())
    context.close()
