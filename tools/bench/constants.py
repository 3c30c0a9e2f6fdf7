"""What a constant of the code decides: results with half and twice its value, over nets of several families.

``python -m tools.bench.constants --corpus DIR --models DIR [NAME...]``.  The folder of ``--models`` is one
that ``tools/bench/exports.py FOLDER --side 64 --kind legacy`` wrote.  Each value is tried in a process of its
own, in which the module is loaded with that value: defaults of functions and other modules that import the
constant see it as well.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import click

CIFAR = "scale=0.00392156862745098;mean=0.485,0.456,0.406;std=0.229,0.224,0.225"
FASHION = "scale=0.00392156862745098;mean=0.2860;std=0.3530"
Change = tuple[str, str, float]  # module, constant, value
IMAGES = "size=64;interpolation=bicubic;mean=127;std=128"  # small, so that nets are quick
PHOTOS = ("imagenet-dev/images::32", "imagenet-dev/images::32:64", IMAGES)
FASHION_DATA = (
    "fashion_mnist_test10k_calib2k.npz#x_calib::64",
    "fashion_mnist_test10k_calib2k.npz#x_test,y_test::512",
    FASHION,
)


@dataclass(frozen=True)
class Net:
    """A net with the samples it is optimized with and judged on, and how they are prepared."""

    name: str
    calibration: str
    evaluation: str
    preprocess: str
    flags: tuple[tuple[str, Any], ...] = ()


NETS = (
    Net("cifar_resnet20_bn", "cifar10_jpeg.tar#train::64", "cifar10_jpeg.tar#test::512", CIFAR),
    Net("fashion_resnet14_bn", *FASHION_DATA),
    Net("fashion_mnv2_bn", *FASHION_DATA),
    Net(
        "ppocr_v2_cls",
        "imagenet-dev/images::32",
        "imagenet-dev/images::32:64",
        "size=48x192;scale=0.00392156862745098;mean=0.5;std=0.5",
        (("shape", {"x": (1, 3, 48, 192)}),),
    ),
    Net("edgenext_xx_small.legacy", *PHOTOS),
    Net("mobilevit_xxs.legacy", *PHOTOS),
    Net("vit_tiny_patch16_224.legacy", *PHOTOS),
)

PRUNE, QUANT, SPARSIFY = "prune:macs=0.7:round_to=1", "quant:measure=false", "sparsify:ratio=0.6"


@dataclass(frozen=True)
class Question:
    """A constant, the passes that it decides something in, and other values than its half and its double."""

    module: str
    name: str
    passes: str
    values: tuple[float, ...] = ()

    def asked(self) -> tuple[float, ...]:
        """The values to try."""
        if self.values:
            return self.values
        value = _written(importlib.util.find_spec(self.module), self.name)
        return tuple(type(value)(value * factor) for factor in (0.5, 2))


QUESTIONS = (
    Question("graphopt.solve.elimination", "ALIKE", PRUNE, (0.5, 1.0)),
    Question("graphopt.solve.least_squares", "RELATIVE", PRUNE),
    Question("graphopt.solve.layer_regression", "DEPTHWISE", PRUNE),
    Question("graphopt.solve.least_squares", "ENOUGH", PRUNE),
    Question("graphopt.passes.quant.channels.equalisation", "EXPONENT", QUANT, (0.25, 1.0)),
    Question("graphopt.passes.quant.search.search", "GAIN", QUANT),
    Question("graphopt.passes.quant.search.search", "ABSORBED", QUANT),
    Question("graphopt.passes.quant.search.noise_bisection", "GAIN", QUANT),
    Question("graphopt.passes.quant.search.noise_bisection", "QUIET", QUANT, (-27.0, -33.0)),
    Question("graphopt.passes.quant.placement.mismatched_concats", "FURTHEST", QUANT),
    Question("graphopt.passes.quant.calibration.ranges", "NEWEST", f"{QUANT}:calibrator=moving"),
    Question("graphopt.passes.quant.rounding.refining", "WORTH_A_LOOK", QUANT),
    Question("graphopt.passes.quant.rounding.second_order", "STEPS", QUANT),
    Question("graphopt.passes.quant.rounding.tuning", "POSITIONS", QUANT),
    Question("graphopt.passes.quant.options", "REFIT_BELOW", f"{QUANT}:weight_bits=4", (4,)),
    Question("graphopt.passes.quant.options", "REFIT_BELOW", f"{QUANT}:weight_bits=5", (6,)),
    Question("graphopt.passes.quant.rounding.tuning", "MANY", QUANT, (0, 10**9)),
    Question("graphopt.passes.sparsify.elimination", "BLOCK", SPARSIFY),
    Question("graphopt.passes.sparsify.elimination", "RELATIVE", SPARSIFY),
)


class _WithValue(importlib.machinery.SourceFileLoader):
    """Loads one module with other values of constants."""

    values: Mapping[str, float]

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed source; compiled files hold the constant as it is written."""
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path))
        for constant, value in self.values.items():
            (statement,) = (node for node in tree.body if _assigns(node, constant))
            statement.value = ast.copy_location(ast.parse(repr(value), mode="eval").body, statement.value)
        return compile(ast.fix_missing_locations(tree), path, "exec")


class _Finder:
    """Finds the modules whose constants are changed; all others are found as always."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._values: dict[str, dict[str, float]] = {}
        for module, constant, value in changes:
            self._values.setdefault(module, {})[constant] = value

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's place with a loader that changes its constants."""
        values = self._values.get(fullname)
        if values is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        loader = _WithValue(fullname, spec.origin)
        loader.values = values
        spec.loader = loader
        return spec


def _assigns(node: ast.stmt, name: str) -> bool:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    return isinstance(node.targets[0], ast.Name) and node.targets[0].id == name


def _written(spec: importlib.machinery.ModuleSpec | None, name: str) -> int | float:
    """The value of a constant in the source."""
    if spec is None or spec.origin is None:
        raise ValueError(f"no such module for {name}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (value,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and _assigns(node, name))
    number: int | float = ast.literal_eval(value)
    return number


@dataclass(frozen=True)
class Trial:
    """Values of some constants, and the nets to try them on; without any, the code as it stands."""

    passes: str
    files: tuple[tuple[Net, Path], ...]
    data: Path
    changes: tuple[Change, ...] = ()

    @property
    def title(self) -> str:
        """What is tried, as the rows name it."""
        return ", ".join(f"{module}.{name} = {value:g}" for module, name, value in self.changes)


def run(trial: Trial) -> list[dict[str, Any]]:
    """What the values make of each net: MACs left, SQNR of the outputs, points lost, CPU seconds."""
    sys.meta_path.insert(0, _Finder(trial.changes))  # type: ignore[arg-type]
    return [_row(trial, net, path) for net, path in trial.files]


def _row(trial: Trial, net: Net, path: Path) -> dict[str, Any]:
    import graphopt
    from graphopt.errors import GraphoptError

    start = time.process_time()
    row: dict[str, Any] = {"net": net.name, "passes": trial.passes, "changes": trial.title}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        try:
            graphopt.optimize(
                path,
                trial.passes,
                calibration=str(trial.data / net.calibration),
                evaluation=str(trial.data / net.evaluation),
                preprocess=net.preprocess,
                report=report,
                output=Path(folder, "out.onnx"),
                **{"latency": False, "verify": "structure", "threads": 1, "seed": 0, **dict(net.flags)},
            )
        except GraphoptError as error:
            return {**row, "failure": str(error)}
        found = json.loads(report.read_text(encoding="utf-8"))
    before, after = found["before"], found["after"]
    top1 = [side["metrics"].get("top1") for side in (before, after)]
    return {
        **row,
        "macs": after["macs"] / before["macs"] if before.get("macs") else None,
        "sqnr": min(found["agreement"].get("snr_db", {}).values(), default=None),
        "lost": 100 * (top1[0] - top1[1]) if None not in top1 else None,
        "cpu": time.process_time() - start,
    }


def _shown(row: dict[str, Any], base: dict[str, Any] | None) -> str:
    """A line: what is measured, and by how much it differs from the code as it stands."""
    if "failure" in row:
        return f"  {row['net']:28} {row['failure']}"
    cells = []
    for key, pattern in (("sqnr", ".2f"), ("lost", ".2f"), ("macs", ".4f"), ("cpu", ".1f")):
        value, other = row[key], base.get(key) if base else None
        difference = "" if value is None or other is None else f" ({value - other:+{pattern}})"
        cells.append(f"{key} " + ("-" if value is None else f"{value:{pattern}}") + difference)
    return f"  {row['net']:28} " + "  ".join(cells)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder of the corpus.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder that exports.py wrote.")
@click.option("--net", "prefixes", multiple=True, help="Only nets whose name begins so.")
@click.option("--together", is_flag=True, help="Change all that decide something in the same passes at once.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Rows go here; none is made again.")
def main(
    names: tuple[str, ...],
    corpus: Path,
    models: Path | None,
    prefixes: tuple[str, ...],
    together: bool,
    output: Path | None,
) -> None:
    """Set constants to half and twice their value and print what changes; NAMES: only those."""
    folders = [corpus / "models", *([models] if models else [])]
    files = tuple(
        (net, folder / f"{net.name}.onnx")
        for net in NETS
        for folder in folders
        if (folder / f"{net.name}.onnx").exists() and (not prefixes or net.name.startswith(prefixes))
    )
    questions = [q for q in QUESTIONS if not names or f"{q.module.rpartition('.')[2]}.{q.name}" in names]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for passes in dict.fromkeys(question.passes for question in questions):
            bases: dict[str, dict[str, Any]] = {}
            for changes in _changes([q for q in questions if q.passes == passes], together):
                trial = Trial(passes, files, corpus / "data", changes)
                rows = _kept(trial, output)
                if rows is None:
                    rows = pool.apply(run, (trial,))
                    _keep(rows, output)
                click.echo(f"{passes}: {trial.title or 'as it stands'}")
                click.echo("\n".join(_shown(row, bases.get(row["net"])) for row in rows))
                bases = bases or {row["net"]: row for row in rows}


def _changes(questions: Sequence[Question], together: bool) -> Iterator[tuple[Change, ...]]:
    """What to try: nothing changed, then each value of each constant, or all first and all second values."""
    yield ()
    changes = [[(q.module, q.name, value) for value in q.asked()] for q in questions]
    if together:
        yield from zip(*changes, strict=True)
    else:
        yield from ((change,) for own in changes for change in own)


def _kept(trial: Trial, output: Path | None) -> list[dict[str, Any]] | None:
    """The rows of a trial that the file holds already; None when one is missing."""
    if output is None or not output.exists():
        return None
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    own = {row["net"]: row for row in rows if (row["passes"], row["changes"]) == (trial.passes, trial.title)}
    names = [net.name for net, _ in trial.files]
    return [own[name] for name in names] if own.keys() >= set(names) else None


def _keep(rows: Sequence[dict[str, Any]], output: Path | None) -> None:
    if output is not None:
        with output.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
