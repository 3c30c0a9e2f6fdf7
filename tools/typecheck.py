"""Check the types of the engine and the rooms as they are installed.

``passes/`` lies beside ``graphopt/`` but installs as ``graphopt.passes``; type checkers read folders, not
import hooks.  So the sources are linked together in a temporary folder the way a wheel lays them out.

Usage: python tools/typecheck.py [mypy arguments]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def link_farm(folder: Path) -> Path:
    """Lay the packages out under ``folder`` as a wheel does and return the top package."""
    package = folder / "graphopt"
    package.mkdir()
    for source in (ROOT / "graphopt").iterdir():
        (package / source.name).symlink_to(source)
    (package / "passes").symlink_to(ROOT / "passes")
    return package


def main() -> int:
    """Run mypy and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        package = link_farm(Path(folder))
        command = [
            *(sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")),
            *("--cache-dir", str(ROOT / ".mypy_cache"), *sys.argv[1:], str(package)),
        ]
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
