"""The page in a real browser, from the command line to a replay: look, study, veto, measure, download."""

from __future__ import annotations

import hashlib
import http.server
import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import graphopt
from graphopt.cli import app
from tests.report.html.conftest import Tab, _chromium  # noqa: F401 (a fixture)

pytest.importorskip("starlette", reason="needs starlette: pip install graphopt[ui]")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODEL, DATA = ROOT / "models" / "fashion_residual.onnx", ROOT / "models" / "fashion_samples.npz"
PATIENCE = 120_000  # milliseconds


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Starts the command and gives the address that it prints."""
    servers = []

    def start(model: Path) -> str:
        command = [sys.executable, "-m", "graphopt", "ui", str(model), "--no-browser", "--quiet"]
        servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path))
        return servers[-1].stdout.readline().split()[-1]

    yield start
    for server in servers:
        server.terminate()
        assert server.wait(30) in (0, 143, -15)


@pytest.fixture(params=[("light", 1360), ("dark", 390)], ids=["light-wide", "dark-narrow"])
def tab(request: pytest.FixtureRequest, _chromium: Any) -> Iterator[Tab]:  # noqa: F811
    scheme, width = request.param
    context = _chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
    )
    yield Tab(context.new_page(), "http://127.0.0.1:")
    context.close()


def figure(page: Any) -> str:
    return str(page.inner_text("#figures"))


def test_from_the_first_look_to_a_replay(
    tab: Tab, served: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tab.page
    page.goto(served(MODEL))
    assert "token" not in page.url  # it does not stay in the address bar
    assert page.locator("#net .n").count() == 33
    assert tab.serious() == []
    page.fill("[name=calibration]", f"{DATA}#calibration::32")
    page.fill("[name=evaluation]", f"{DATA}#images,labels::64")
    page.click("#setting .primary")
    page.wait_for_selector("#steer:not([hidden])", timeout=PATIENCE)

    # explore: the slider by keyboard, then the goal
    page.wait_for_function("() => document.querySelector('#figures').textContent.includes('unchanged')")
    page.focus("#position")
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('#changes').children.length > 5")
    whole = figure(page)
    assert page.locator("#net .n.quant").count() == page.locator("#changes li").count()

    # veto in the graph: the figures move, and the node says so
    page.locator('.n[data-row="2"]').dispatch_event("click")
    page.select_option("#detail select", "keep")
    page.wait_for_function("whole => document.querySelector('#figures').textContent !== whole", arg=whole)
    assert page.locator('.n.vetoed[data-row="2"]').count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.serious() == []

    # measure, and take away
    page.click("#measure")
    page.wait_for_selector(".job[data-kind=run][data-state=done]", timeout=PATIENCE)
    assert "Measured: SQNR" in page.inner_text(".measured") and "top1" in page.inner_text(".measured")
    for kind, name in (("model", "page.onnx"), ("plan", "plan.json"), ("report", "report.html")):
        with page.expect_download() as download:
            page.click(f".job [data-file={kind}]")
        download.value.save_as(tmp_path / name)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert tab.serious() == []
    assert tab.complaints == []

    monkeypatch.chdir(tmp_path)
    assert app.run([*shlex.split(page.inner_text(".command"))[1:], "--quiet"]) == 0
    made, replayed = ((tmp_path / name).read_bytes() for name in ("page.onnx", "model.onnx"))
    assert hashlib.sha256(made).digest() == hashlib.sha256(replayed).digest()


def explored_point(name: str, left: float, lost: float) -> dict[str, Any]:
    figures = {"left": left, "latency": left, "bytes": left / 2, "macs": left, "lost": lost, "sqnr_db": 30.0}
    interval = {"low": lost - 0.5, "high": lost + 0.5, "upper": None}
    return {
        "name": name,
        **figures,
        **interval,
        "moves": {"quant": 2},
        "command": f"graphopt optimize {name}",
    }


def test_a_measured_front_is_dragged_along(tab: Tab, served: Callable[[Path], str]) -> None:
    """The page of a server whose job has found a front of three points."""
    points = [explored_point(f"0{i + 1}", 0.2 + 0.3 * i, 2.0 - i) for i in range(3)]
    result = {"saves": "latency", "trials": 5, "said": ["a sentence"], "points": points}
    job = {
        "number": 1,
        "kind": "explore",
        "title": "front of quant",
        "state": "done",
        "message": "",
        "done": 0,
    }
    state = {"version": 1, "jobs": [{**job, "result": result}], "studied": False, "setting": {}}
    layers = ["/stem/conv/Conv", "/block1/first/conv/Conv", "/block1/second/conv/Conv"]
    every = [layer.name for layer in graphopt.inspect(MODEL, layers=True).layers]
    rows = [every.index(name) for name in layers]

    def changes(route: Any) -> None:
        count = 4 - int(route.request.post_data_json["point"])
        listed = [
            {"step": "quant", "name": name, "what": "int8", "row": row}
            for name, row in list(zip(layers, rows, strict=True))[:count]
        ]
        route.fulfill(json={"changes": listed})

    page = tab.page
    stream = f"data: {json.dumps(state)}\n\n"
    page.route("**/api/events*", lambda route: route.fulfill(content_type="text/event-stream", body=stream))
    page.route("**/api/changes", changes)
    page.goto(served(MODEL))
    page.wait_for_function("() => document.querySelectorAll('#at-changes li').length === 3")
    assert page.inner_text("#at-figures").startswith("Point 01: 20.0 % of the latency, 10.0 % of the bytes")
    assert page.locator("#net .n.quant").count() == 3
    page.focus("#at")
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelectorAll('#at-changes li').length === 1")
    assert (
        page.inner_text("#at-figures").startswith("Point 03") and page.locator("#net .n.quant").count() == 1
    )
    assert page.inner_text("#at-command") == "graphopt optimize 03"
    assert page.get_attribute("#at-links [data-file=model-03]", "href").startswith("/api/file/1/model-03?")
    page.locator("#measured").scroll_into_view_if_needed()
    box = page.locator("#measured").bounding_box()
    page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#at-figures').textContent.startsWith('Point 01')")
    page.click("#at-changes .name >> nth=0")
    assert layers[0] in page.inner_text("#detail")
    assert "3 points of 5 trials" in page.inner_text(".job") and "a sentence" in page.inner_text(".job")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []
    assert tab.serious() == []


def test_another_page_of_this_machine_learns_nothing(
    tab: Tab, served: Callable[[Path], str], tmp_path: Path
) -> None:
    """Even one that knows the token: it is of another origin."""
    address, _, token = served(MODEL).partition("?token=")
    (tmp_path / "evil.html").write_text("<title>evil</title>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    def handler(*values: Any) -> Quiet:
        return Quiet(*values, directory=str(tmp_path))

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        tab.page.goto(f"http://127.0.0.1:{other.server_address[1]}/evil.html")
        ask = """async ([url, mode, headers]) => {
            try { const answer = await fetch(url, {mode, headers}); return [answer.type, answer.status]; }
            catch { return ["refused", 0]; }
        }"""
        state = f"{address}api/state"
        assert tab.page.evaluate(ask, [state, "cors", {"X-Graphopt-Token": token}]) == ["refused", 0]
        assert tab.page.evaluate(ask, [f"{state}?token={token}", "cors", {}]) == ["refused", 0]
        assert tab.page.evaluate(ask, [f"{state}?token={token}", "no-cors", {}]) == ["opaque", 0]
    finally:
        other.shutdown()
        other.server_close()
