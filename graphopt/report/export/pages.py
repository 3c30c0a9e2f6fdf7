"""Pages of report files, written to disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from graphopt.errors import OutputError, UsageError
from graphopt.util.files import write_text


def report(reports: Sequence[str | Path], output: str | Path, *, force: bool = False) -> Path:
    """Write the page of one report file, or a page that puts several side by side; returns its path.

    Raises UsageError for a file that is no report, OutputError when ``output`` cannot be written, or exists
    and ``force`` is not set.
    """
    from graphopt.report import html

    paths, target = [Path(path) for path in reports], Path(output)
    if not paths:
        raise UsageError("no report is named", hint="graphopt optimize --report run.json makes one")
    if target.suffix != ".html":
        raise UsageError(f"-o {target}: a page is written as .html", hint=f"name it {target}.html")
    documents = [html.read_report(path) for path in paths]
    if target.exists() and not force:
        raise OutputError(f"the output {target} exists", hint="--force overwrites it")
    if len(documents) == 1:
        page = html.render_report(documents[0])
    else:
        page = html.render_comparison(documents, _names(paths))
    write_text(target, page)
    return target


def _names(paths: Sequence[Path]) -> list[str]:
    """The names of the files; with their folders where these are all that tells two apart."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [str(path.with_suffix("")) for path in paths]
