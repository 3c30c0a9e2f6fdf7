"""Reports as one self-contained page: every text escaped, every plot drawn, nothing loaded from elsewhere."""

from graphopt.report.html.inspecting import render_inspection
from graphopt.report.html.page import read_report, render_comparison, render_report

__all__ = ["read_report", "render_comparison", "render_inspection", "render_report"]
