"""The page in a real browser, from the command line to a replay: look, study, veto, measure, download."""

from __future__ import annotations

import hashlib
import http.server
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
