"""How fast the page of a large net is: ``python -m tools.bench.page [LAYERS]``; needs chromium, playwright.

Interactive means: parsed, laid out, the script has run, and a click on a column has sorted the table.
Beside the seconds of the clock stand those that all processes of the browser computed.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from graphopt.report.html import render_report

RUNS = 5
PAINT = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def measure(layers: int) -> dict[str, float]:
    """Seconds to make, open and sort the page, the least of several; and its size in MB."""
    from playwright.sync_api import sync_playwright

    document = _maker()(layers)
    start = perf_counter()
    text = render_report(document)
    found = {"make_s": perf_counter() - start, "megabytes": len(text.encode()) / 1e6}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "page.html")
        path.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = [_open(browser, path.as_uri()) for _ in range(RUNS)]
        browser.close()
    least = [min(column) for column in zip(*times, strict=True)]
    return {**found, **dict(zip(("open_s", "interactive_s", "computed_s"), least, strict=True))}


def _open(browser: Any, address: str) -> tuple[float, float, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto("about:blank")
    start, computed = perf_counter(), sum(_computed())
    page.goto(address)
    page.evaluate(PAINT)
    opened = perf_counter() - start
    page.click("#table th[data-key=macs] button")
    page.evaluate(PAINT)
    total = perf_counter() - start
    computed = sum(_computed()) - computed
    page.close()
    return opened, total, computed


def _computed() -> Iterator[float]:
    """CPU seconds of the processes below this one."""
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        yield times.user + times.system


def _maker() -> Any:
    """The synthetic report files of the tests."""
    path = Path(__file__).parents[2] / "tests" / "report" / "html" / "conftest.py"
    spec = importlib.util.spec_from_file_location("report_documents", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_document


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{count} layers:", ", ".join(f"{key} {value:.2f}" for key, value in measure(count).items()))
