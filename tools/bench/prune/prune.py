"""Pruning: how much of real networks it reaches, exactly, and what it costs their accuracy."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.prune import families as families
from tools.bench.prune import families_peers as peers
from tools.bench.support.session import Session
from tools.bench.support.tables import Goal, Record, console, show, show_goals

RATIO = 0.5
CLOSE = 1e-5  # relative difference from the masked twin
NOISE = 10.0  # times what the runtime itself makes of the original is allowed too
REACH = 0.95  # of the convolutions that do not make outputs
SECONDS = 600  # for one network
ACCURACY = "tools.bench.prune.accuracy"


@dataclass(frozen=True)
class Options:
    """What to prune, and where the exports and the environment of torchvision are."""

    exports: Path
    torch: Path
    pattern: str = "*"
    with_peers: bool = True

    @property
    def python(self) -> Path:
        """The interpreter that has torchvision."""
        return self.torch / "bin" / "python"


def bench(session: Session, options: Options) -> Record:
    """Prune every family by graphopt and its peers; the record of it all."""
    record = session.record("prune")
    chosen = families.subjects(options.pattern)
    families.ensure_exports(chosen, options.exports, options.python)
    for subject in chosen:
        console().print(f"{subject.title} ...", end=" ")
        row = {"what": subject.title, "tool": "graphopt", **_graphopt(subject, options.exports)}
        console().print(remark(row))
        record.rows.append(row)
    if options.with_peers:
        record.rows += _peers(session, options, chosen)
    show("pruning families", COLUMNS, [printed(row) for row in record.rows])
    record.goals += goals([row for row in record.rows if row["tool"] == "graphopt"])
    show_goals(record.goals)
    return record


def accuracy(session: Session, corpus: Path) -> Record | None:
    """What pruning costs accuracy, where that bench is there."""
    if importlib.util.find_spec(ACCURACY) is None:
        return None
    found: Record = importlib.import_module(ACCURACY).bench(session, corpus)
    return found


def _graphopt(subject: families.Subject, exports: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tools.bench.prune.families_check", str(subject.path(exports))]
    command += ["--ratio", str(RATIO), *(["--inexact"] if subject.inexact else [])]
    return peers.last_line(command, SECONDS)


def _peers(session: Session, options: Options, chosen: Sequence[families.Subject]) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys(subject.name for subject in chosen):
        found = peers.torch_pruning(options.python, name, RATIO, SECONDS)
        rows.append({"what": f"{name} module", "tool": "torch-pruning", **found})
        source = options.exports / f"{name}.folded.onnx"
        output = session.scratch / f"{name}.onnxsim.onnx"
        found = peers.onnxsim(session.environment.python, source, output, RATIO, SECONDS)
        rows.append({"what": f"{name} folded", "tool": "onnxsim", **found})
        output.unlink(missing_ok=True)
        for row in rows[-2:]:
            console().print(f"{row['what']} by {row['tool']}: {remark(row)}")
    return rows


COLUMNS = ("network", "tool", "convs", "layers", "params left", "twin, level 0", "level all", "s", "remark")


def printed(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    twin = row.get("twin_disabled", row.get("twin"))
    layers = f"{row['narrowed_layers']} of {row['layers']}" if "layers" in row else "-"
    return (
        row["what"],
        row["tool"],
        f"{row['narrowed_convs']} of {row['convs']}" if "convs" in row else "-",
        layers,
        f"{row['parameters_left']:.0%}" if "parameters_left" in row else "-",
        "-" if twin is None else f"{twin:.1e}",
        f"{row['twin_all']:.1e}" if "twin_all" in row else "-",
        f"{row['seconds']:.1f}" if "seconds" in row else "-",
        row.get("failure", "")[:60],
    )


def remark(row: dict[str, Any]) -> str:
    """What to say about a row while the bench runs."""
    if "failure" in row:
        return str(row["failure"])
    twins = [f"{row[key]:.1e}" for key in ("twin", "twin_disabled", "twin_all") if row.get(key) is not None]
    return f"{row['narrowed_convs']} of {row['convs']} convs, twin {' '.join(twins) or 'not judged'}"


def goals(rows: Sequence[dict[str, Any]]) -> list[Goal]:
    """Every file valid, equal to its twin, and narrowed as far as the model allows."""
    judged = [row for row in rows if "own" in row]
    reached = [row for row in rows if "convs" in row and not _walled_by_normalisation(row)]
    worst = max((_over_the_limit(row) for row in judged), default=None)
    left = max((1.0 - row["narrowed_convs"] / max(row["convs"], 1) for row in reached), default=None)
    return [
        Goal("files", "that fail or are invalid", float(sum("failure" in row for row in rows)), 0.0),
        Goal("files", "largest difference from the masked twin / what is allowed", worst, 1.0),
        Goal("files", "largest share of non-output convs left whole", left, 1.0 - REACH),
    ]


def _over_the_limit(row: dict[str, Any]) -> float:
    return float(max(row["twin_disabled"], row["twin_all"]) / max(CLOSE, NOISE * row["own"]))


def _walled_by_normalisation(row: dict[str, Any]) -> bool:
    """Exact pruning does not reach what one normalisation spans; the inexact row of the network counts."""
    name, _, way = row["what"].partition(" ")
    return name in families.NORMALISED_OVER_CHANNELS and "inexact" not in way
