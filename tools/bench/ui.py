"""How fast the local page is: ``python -m tools.bench.ui [NODES]``; needs chromium, playwright, starlette.

A chain of residual blocks with so many nodes is served.  *First paint* is from asking for the page to the
first contentful paint; *veto* from choosing to keep a layer to the new figures, after a study whose numbers
are drawn at random: each convolution tried at 8 bits and pruned at three levels.  The first opening draws
the graph.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RUNS = 5
TOKEN = "bench"
PAINT = """() => new Promise(done => new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") done(entry.startTime);
}).observe({type: "paint", buffered: true}))"""
TO_THE_END = """() => {
    const slider = document.querySelector("#position");
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input"));
}"""
VETO = """async () => {
    const figures = document.querySelector("#figures"), select = document.querySelector("#changes li select");
    const before = figures.textContent, start = performance.now();
    select.value = select.value === "keep" ? "auto" : "keep";
    select.dispatchEvent(new Event("change"));
    while (figures.textContent === before) await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def measure(nodes: int) -> dict[str, float]:
    """Seconds to first paint and from a veto to the new prediction, and the page's MB."""
    import uvicorn

    from graphopt.ui.front import Level, Part
    from graphopt.ui.server import make_app
    from graphopt.ui.workbench import Workbench

    with tempfile.TemporaryDirectory() as folder, socket.socket() as listening:
        path = Path(folder, "net.onnx")
        onnx.save(chain(nodes), path)
        bench = Workbench(path, [], Path(folder, "work"))
        rng = np.random.default_rng(0)
        convs = [layer.name for layer in bench.inspection.layers if layer.op == "Conv"]
        bench._parts = [
            *(
                Part("quant", name, (Level(8, 10 ** -rng.uniform(3, 6), stored=1 / len(convs)),))
                for name in convs
            ),
            *(
                Part(
                    "prune",
                    name,
                    tuple(Level(k, 10 ** -rng.uniform(1, 5), macs=k / len(convs)) for k in (0.2, 0.5, 0.8)),
                )
                for name in convs
            ),
        ]
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(
            uvicorn.Config(make_app(bench, TOKEN, lambda: server.should_exit), log_level="error")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            sleep(0.01)
        found = _browse(f"http://127.0.0.1:{listening.getsockname()[1]}/?token={TOKEN}")
        server.should_exit = True
        thread.join()
        bench.close()
    return {"nodes": len(bench.inspection.layers), "parts": 2 * len(convs), **found}


def _browse(address: str) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    paints, loads, vetoes, size = [], [], [], 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(RUNS):
            page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
            start = perf_counter()
            answer = page.goto(address, wait_until="load")
            loads.append(perf_counter() - start)
            size = len(answer.body())
            paints.append(page.evaluate(PAINT) / 1e3)
            page.wait_for_selector("#steer:not([hidden])")
            page.evaluate(TO_THE_END)
            page.wait_for_selector("#changes li select")
            page.wait_for_timeout(300)
            vetoes += [page.evaluate(VETO) / 1e3 for _ in range(4)]
            page.close()
        browser.close()
    times = {"first_paint_s": paints, "load_s": loads, "veto_s": vetoes}
    least = {f"{name}_least": min(values) for name, values in times.items()}
    most = {f"{name}_most": max(values) for name, values in times.items()}
    return {**least, **most, "megabytes": size / 1e6}


def chain(nodes: int) -> onnx.ModelProto:
    """Blocks of two convolutions with activations and a sum, ``nodes`` nodes or a few more."""
    rng = np.random.default_rng(0)
    made: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    tensor, block = "x", 0

    def add(op: str, inputs: list[str], name: str) -> str:
        made.append(
            helper.make_node(op, inputs, [f"{name}_out"], name, **({"pads": [1] * 4} if op == "Conv" else {}))
        )
        return f"{name}_out"

    while len(made) < nodes:
        start = tensor
        for part in ("first", "second"):
            weight = f"block{block}.{part}.weight"
            values = rng.standard_normal((8, 8, 3, 3)).astype(np.float32) / 9
            weights.append(numpy_helper.from_array(values, weight))
            tensor = add("Conv", [tensor, weight], f"/block{block}/{part}/Conv")
            if part == "first":
                tensor = add("Relu", [tensor], f"/block{block}/{part}/Relu")
        tensor = add("Add", [tensor, start], f"/block{block}/Add")
        tensor = add("Relu", [tensor], f"/block{block}/Relu")
        block += 1
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 16, 16]) for name in ("x", tensor)]
    graph = helper.make_graph(made, "chain", port[:1], port[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


if __name__ == "__main__":
    for key, value in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000).items():
        print(f"{key:>20}: {value:.3g}")
