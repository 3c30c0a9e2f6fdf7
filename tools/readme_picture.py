"""Draw the picture of the README: the head of a report page, once light and once dark.

Usage: python tools/readme_picture.py REPORT.html [--out docs/images]

The page is one that `graphopt optimize --report REPORT.html` wrote; Debian's chromium (or the one that
playwright brings) draws it with the extra `browser`. Colours are reduced to 128, which text on plain ground
bears, so that each picture stays well under 100 KB.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image

WIDTH, TOP, HEIGHT, SCALE = 900, 84, 424, 1.5  # CSS pixels of the crop, and device pixels for each
COLOURS = 128


def screenshots(page: Path, height: int) -> dict[str, bytes]:
    """PNG files of the head of the page by colour scheme."""
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            size = {"width": WIDTH, "height": TOP + height}
            tab = browser.new_page(viewport=size, device_scale_factor=SCALE, color_scheme=scheme)
            tab.goto(page.absolute().as_uri())
            tab.wait_for_load_state()
            found[scheme] = tab.screenshot(clip={"x": 0, "y": TOP, "width": WIDTH, "height": height})
            tab.close()
        browser.close()
    return found


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--height", type=int, default=HEIGHT)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for scheme, png in screenshots(options.report, options.height).items():
        picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        path = options.out / f"report-{scheme}.png"
        picture.save(path, optimize=True)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
