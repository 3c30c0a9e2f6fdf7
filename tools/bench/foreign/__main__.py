"""Foreign models through every pass: the onnx wheel's backend tests, or a folder of files.

``python -m tools.bench.foreign`` tries the exact passes on the suite, and on every case of it once more with
all inputs but the first as constants where that gives it weights (``:frozen``); ``--all`` adds the other
passes over the models that have weights; ``--folder PATH`` tries the ``.onnx`` files under a folder instead.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tools.bench.foreign.cases import KINDS, Case, folder, frozen, suite
from tools.bench.foreign.pool import Task, try_all
from tools.bench.foreign.trial import EXACT, REFUSED, SAME, VALID, WORDS, Verdict, has_weights

LOSSY = (
    *("prune:ratio=0.5", "quant", "lowrank:energy=0.99", "sparsify", "cast"),
    *("quant:mode=dynamic", "quant:mode=weights"),
)
BAD = frozenset(WORDS) - {SAME, VALID, REFUSED}
SHOWN = 12  # sentence classes of refusals, and bad cases of each word


def tasks(cases: Sequence[Case], specs: Sequence[str]) -> list[Task]:
    """Every case under the exact passes, those with weights under the others."""
    made: list[Task] = []
    for spec in specs:
        made += [(case, spec) for case in cases if spec == EXACT or has_weights(case.content())]
    return made


def table(verdicts: Sequence[Verdict]) -> str:
    """Counts by spec and word; words that cases came to which onnxruntime does not load are set apart."""
    heads = ("passes", "models", "loads", *WORDS)
    rows = [heads]
    for spec in dict.fromkeys(verdict.passes for verdict in verdicts):
        of_spec = [verdict for verdict in verdicts if verdict.passes == spec]
        loaded = [verdict for verdict in of_spec if verdict.loads]
        counts = collections.Counter(verdict.word for verdict in loaded)
        numbers = (len(of_spec), len(loaded), *(counts[word] for word in WORDS))
        rows.append((spec, *map(str, numbers)))
        others = collections.Counter(verdict.word for verdict in of_spec if not verdict.loads)
        if others:
            numbers = (sum(others.values()), 0, *(others[word] for word in WORDS))
            rows.append(("  onnxruntime does not load", *map(str, numbers)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def details(verdicts: Sequence[Verdict]) -> str:
    """The sentences of refusals, counted by class, and every bad case."""
    lines: list[str] = []
    for spec in dict.fromkeys(verdict.passes for verdict in verdicts):
        of_spec = [verdict for verdict in verdicts if verdict.passes == spec and verdict.loads]
        refusals = [v for v in of_spec if v.word == REFUSED]
        classes = collections.Counter((v.exit_code, v.sentence_class) for v in refusals)
        lines += [
            f"{spec}: {n} refused with {code}: {text}" for (code, text), n in classes.most_common(SHOWN)
        ]
        for word in WORDS:
            bad = [v for v in of_spec if v.word == word and word in BAD]
            lines += [f"{spec}: {word}: {v.case}: {v.sentence[:200]}" for v in bad[:SHOWN]]
            if len(bad) > SHOWN:
                lines.append(f"{spec}: {word}: and {len(bad) - SHOWN} more")
    return "\n".join(lines)


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Parts of the suite.")
@click.option("--folder", "path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--passes", "specs", multiple=True, help="Specs to try (default: the exact passes).")
@click.option("--all", "every", is_flag=True, help="The exact passes and all others.")
@click.option("--only", default="", help="Only cases whose name holds this text.")
@click.option("--every", "step", type=click.IntRange(min=1), default=1, help="Only one case in so many.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--limit", type=float, default=60.0, show_default=True, help="Seconds a case may take.")
@click.option(
    "--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write verdicts here."
)
def main(
    kinds: Sequence[str],
    path: Path | None,
    specs: Sequence[str],
    every: bool,
    only: str,
    step: int,
    workers: int,
    limit: float,
    output: Path | None,
) -> None:
    """Try foreign models and print a table of what came of them; exit code 1 when one was damaged."""
    cases = folder(path) if path else suite(kinds or KINDS)
    if path is None:
        cases += [
            made for case in cases if (made := frozen(case)) is not None and has_weights(made.content())
        ]
    cases = [case for case in cases if only in case.name][::step]
    chosen = (EXACT, *LOSSY) if every else tuple(specs) or (EXACT,)
    work = tasks(cases, chosen)
    done = 0

    def note(verdict: Verdict) -> None:
        nonlocal done
        done += 1
        if done % 100 == 0:
            print(f"{done} of {len(work)}", file=sys.stderr)

    verdicts = try_all(work, workers, limit, note=note)
    print(table(verdicts))
    print(details(verdicts))
    if output is not None:
        output.write_text(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=1))
    sys.exit(any(verdict.word in BAD for verdict in verdicts if verdict.loads))


if __name__ == "__main__":
    main()
