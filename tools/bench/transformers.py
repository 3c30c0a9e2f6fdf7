"""Attention: does every export of a family prune to what its masked twin gives, and what does accuracy lose.

By itself: ``python -m tools.bench.transformers families FOLDER`` for ONNX files that lie there, exported from
timm or elsewhere, and ``python -m tools.bench.transformers accuracy`` for the sample transformer and the
hybrid, on all 10,000 test images of Fashion-MNIST, with CORP's method and pruning by norms in the same run.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from graphopt import ir
from graphopt.cost.static.layers import counted_macs
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from graphopt.passes.prune.attention.change import change_bases
from graphopt.passes.prune.attention.separate import separate
from graphopt.passes.prune.coupling.coupling import couple, with_bundles
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.plan import read_items
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from tools.bench.prune import corp
from tools.bench.support.tables import Goal, Record, own_version, show, show_goals

MODELS = Path(__file__).resolve().parents[2] / "models"
DATA = Path("/usr/share/datasets/fashion-mnist")
EXACT = 1e-5
IMAGES, DRAWS = 512, 3
PLANTED = 0.1  # deviation of the numbers added to biases, which random exports have as zeros


@click.group()
def main() -> None:
    """Attention in exports, and what pruning it costs."""


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures to this file.")
def families(folder: Path, json_path: Path | None) -> None:
    """Prune half of every unit by chance, in every ONNX file of FOLDER, and compare with masked twins."""
    record = Record("transformers families", {"graphopt": own_version()}, {"ratio": 0.5})
    for path in sorted(folder.glob("*.onnx")):
        for unit in ("ranks", "heads"):
            row = _family(path, unit)
            record.rows.append(row)
            record.goals.append(Goal(f"{path.stem}, {unit}", "difference to its twin", row["twin"], EXACT))
            if unit == "ranks":
                record.goals.append(Goal(path.stem, "difference by other bases", row["bases"], EXACT))
            click.echo(json.dumps(row))
    columns = ("file", "unit", "attentions", "twin", "bases", "narrowed", "MACs left", "seconds", "why not")
    show("families", columns, [[str(row[name]) for name in columns] for row in record.rows])
    show_goals(record.goals)
    if json_path is not None:
        record.write(json_path)


def _family(path: Path, unit: str) -> dict[str, Any]:
    started = time.process_time()
    model = _prepared(path)
    _plant(model)
    sizes = _sizes(model, 2)
    ctx = Context(Inputs(model, shapes=sizes))
    step = Prune(ratio=0.5, round_to=1, importance="random", repair=False, attention=unit)
    plan = step.plan(model, ctx)
    before = model.copy()
    facts = gather_facts(before, ctx, unit=unit)
    attentions = separate(before, facts) if unit == "ranks" else []
    facts = with_bundles(before, facts)
    coupling = couple(before, facts)
    keep = read_items(coupling, plan.items)
    twin = before.copy()
    for slot in couple(twin, facts).slots:
        removed = ~coupling.kept(slot.ids, keep)
        if slot.role in ("out", "shift"):
            removed &= np.isin(coupling.on(slot.ids), list(coupling.summed))
        if slot.role != "scale" and removed.any():
            slot.node.inputs[slot.index] = twin.graph.add_constant(
                "masked", slot.zeroed(slot.values, removed)
            )
    pruned = model.copy()
    step.apply(pruned, plan, ctx)
    pruned.check()
    feeds = _random_feeds(ctx)
    bases = None
    if unit == "ranks":
        change_bases(before, attentions, ctx.calibration.take(8), ctx)
        bases = _difference(model, before, feeds)
    why = Counter(item["why"].split("'")[0].strip() for item in plan.items if not item["remove"])
    return {
        "file": path.stem,
        "unit": unit,
        "attentions": len(coupling.attentions) or len(attentions),
        "twin": _difference(twin, pruned, feeds),
        "bases": bases,
        "narrowed": sum(bool(item["remove"]) for item in plan.items),
        "MACs left": round(_macs(pruned, sizes) / _macs(model, sizes), 3),
        "seconds": round(time.process_time() - started, 1),
        "why not": dict(why.most_common(4)),
    }


def _prepared(path: Path) -> ir.Model:
    model = ir.load(path)
    ctx = Context(Inputs(model))
    Clean().run(model, ctx)
    FoldBN().run(model, ctx)
    return model


def _plant(model: ir.Model) -> None:
    """Give biases numbers: those of random exports are zero."""
    rng = np.random.default_rng(0)
    for node in model.graph.find("Add", "Gemm", "Conv"):
        for index, tensor in enumerate(node.inputs):
            values = tensor.constant
            if values is None or values.ndim != 1 or values.dtype != np.float32:
                continue
            if node.op != "Conv" or index == 2:
                noise = PLANTED * rng.standard_normal(values.shape)
                model.graph.set_constant(node, index, (values + noise).astype(np.float32))


def _sizes(model: ir.Model, batch: int) -> dict[str, tuple[int, ...]]:
    return {
        port.name: tuple(size if isinstance(size, int) else batch for size in port.shape or ())
        for port in model.signature.inputs
    }


def _random_feeds(ctx: Context) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    sample = next(iter(ctx.inputs.check)).feeds
    return {name: rng.standard_normal(value.shape).astype(value.dtype) for name, value in sample.items()}


def _difference(first: ir.Model, second: ir.Model, feeds: dict[str, np.ndarray]) -> float:
    """The largest difference of any output, relative to its largest value."""
    left, right = (Session(model, optimization="disabled").run(feeds) for model in (first, second))
    return max(float(np.abs(left[n] - right[n]).max() / np.abs(left[n]).max()) for n in left)


def _macs(model: ir.Model, sizes: dict[str, tuple[int, ...]]) -> int:
    return sum(count or 0 for _, count in counted_macs(model, sizes))


# -- accuracy --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """A sample model, cleaned and folded, with the test images and the multiply-accumulates of its blocks."""

    model: ir.Model
    images: np.ndarray
    labels: np.ndarray
    train: np.ndarray

    @classmethod
    def of(cls, path: Path, data: Path) -> Judge:
        """Read the model and Fashion-MNIST."""
        from tools.make_models_parts.fashion import normalise, read_split

        test, train = read_split(data, "t10k"), read_split(data, "train")
        return cls(_prepared(path), normalise(test.images), test.labels, train.images)

    def right(self, model: ir.Model) -> np.ndarray:
        """Which images a model answers rightly."""
        session, name = Session(model), model.signature.inputs[0].name
        parts = [self.images[i : i + 500] for i in range(0, len(self.images), 500)]
        answers = [next(iter(session.run({name: part}).values())).argmax(axis=1) for part in parts]
        return np.asarray(np.concatenate(answers) == self.labels)

    def blocks(self, model: ir.Model) -> int:
        """Multiply-accumulates of the blocks: of matrix products on tokens, so without convolutions."""
        counts = counted_macs(model, _sizes(model, 1))
        return sum(count or 0 for op, count in counts if op == "MatMul")

    def calibration(self, draw: int) -> np.ndarray:
        """Images for one draw, unlabelled, from the training part."""
        from tools.make_models_parts.fashion import normalise

        chosen = np.random.default_rng(draw).choice(len(self.train), IMAGES, replace=False)
        return normalise(self.train[chosen])


Method = Callable[[ir.Model, Context], None]


def _pass(**options: Any) -> Method:
    step = Prune(round_to=4, exclude=("Conv",), **options)
    return lambda model, ctx: step.apply(model, step.plan(model, ctx), ctx)


def _corp(hidden: float, rank: float) -> Method:
    def run(model: ir.Model, ctx: Context) -> None:
        feeds = (sample.feeds for sample in ctx.calibration)
        corp.prune(model, gather_facts(model, ctx), feeds, hidden, rank)

    return run


def _cases(share: float) -> Iterator[tuple[str, Method, float | None]]:
    """Method by name, with the points it may lose; ``share`` is that of the blocks in all of the MACs."""
    for left, limit in ((0.7, 0.4), (0.5, 0.8)):
        whole = 1 - share * (1 - left)
        yield f"prune, {left:.0%} of the blocks", _pass(macs=whole), limit
        yield f"l2, repaired, {left:.0%}", _pass(macs=whole, importance="l2"), None
        yield f"heads, {left:.0%}", _pass(macs=whole, attention="heads"), None
    yield "prune, queries and keys 4 of 16", _pass(ratio=0.0, ratios=("*query@0.75",)), 0.5
    yield "CORP, hidden 62 %, rank 8 of 16", _corp(0.625, 0.5), None
    yield "CORP, hidden 33 %, rank 4 of 16", _corp(1 / 3, 0.25), None
    yield "CORP, rank 4 of 16", _corp(1.0, 0.25), None


@main.command()
@click.option("--model", "path", default=MODELS / "fashion_transformer.onnx", type=click.Path(path_type=Path))
@click.option("--data", default=DATA, type=click.Path(path_type=Path), help="Folder of Fashion-MNIST.")
@click.option("--draws", default=DRAWS, show_default=True, help="Drawings of calibration images.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures to this file.")
def accuracy(path: Path, data: Path, draws: int, json_path: Path | None) -> None:
    """Prune a sample transformer without training, on 512 unlabelled images, and count points of top-1."""
    judge = Judge.of(path, data)
    settings = {"images": IMAGES, "draws": draws, "model": path.name}
    record = Record("transformers accuracy", {"graphopt": own_version()}, settings)
    before, blocks = judge.right(judge.model), judge.blocks(judge.model)
    share = blocks / _macs(judge.model, _sizes(judge.model, 1))
    click.echo(f"{path.name}: top-1 {before.mean():.4f}, blocks {share:.1%} of the MACs")
    for name, method, limit in _cases(share):
        lost, left = zip(*(_draw(judge, method, before, draw) for draw in range(draws)), strict=True)
        points = [100 * float(one.mean()) for one in lost]
        row = {"method": name, "blocks left": float(np.mean(left)) / blocks, "lost": points}
        record.rows.append(row)
        click.echo(f"{name}: {np.mean(points):.2f} points ({points}), {row['blocks left']:.3f} of the blocks")
        if limit is not None:
            record.goals.append(Goal(path.stem, f"points lost, {name}", float(np.mean(points)), limit))
    show_goals(record.goals)
    if json_path is not None:
        record.write(json_path)


def _draw(judge: Judge, method: Method, before: np.ndarray, draw: int) -> tuple[np.ndarray, int]:
    """The images lost, less those won, and what the blocks take then."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npz"
        np.savez(samples, images=judge.calibration(draw))
        model = judge.model.copy()
        method(model, Context(Inputs(model, calibration=str(samples))))
    model.check()
    return before.astype(float) - judge.right(model), judge.blocks(model)


if __name__ == "__main__":
    main()
