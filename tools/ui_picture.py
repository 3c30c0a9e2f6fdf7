"""Make the picture of ``graphopt ui`` in the docs: needs chromium, playwright and Pillow.

Usage: python -m tools.ui_picture [FILE.png]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "ui.png"
SIZE = {"width": 1360, "height": 900}
COLOURS = 64  # keep the file small
PATIENCE = 180_000  # milliseconds


def main(target: Path) -> None:
    """Study the residual sample model for 8 bits, measure a point, and photograph the page."""
    from PIL import Image

    model, data = ROOT / "models" / "fashion_residual.onnx", ROOT / "models" / "fashion_samples.npz"
    command = [sys.executable, "-m", "graphopt", "ui", str(model), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        _photograph(server.stdout.readline().split()[-1], data, target)
    finally:
        server.terminate()
        server.wait()
    image = Image.open(target).convert("RGB")
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).quantize(COLOURS).save(target, optimize=True)


def _photograph(address: str, data: Path, target: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(address)
        page.fill("[name=calibration]", f"{data}#calibration::64")
        page.fill("[name=evaluation]", f"{data}#images,labels::200")
        page.click("#setting .primary")
        page.wait_for_selector("#steer:not([hidden])", timeout=PATIENCE)
        page.fill("#goal", "44")
        page.click("#aim")
        page.click("#measure")
        page.wait_for_selector(".job[data-kind=run][data-state=done]", timeout=PATIENCE)
        page.evaluate("document.querySelector('#data').hidden = true; scrollTo(0, 100)")
        page.wait_for_timeout(500)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(target))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
