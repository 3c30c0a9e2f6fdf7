"""The tools of the checkout are no part of the package: tests find them beside their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
