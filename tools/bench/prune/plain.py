"""What prune and lowrank cost networks without normalisation and residual sums.

``python -m tools.bench.prune.plain --corpus DIR fire.onnx chain.onnx``, with files that ``plain_torch.py``
has trained.  Calibration images are unlabelled ones of the corpus, a draw is another choice of them; points
lost are paired over its 10,000 test images.
"""

from __future__ import annotations

from pathlib import Path

import click

from tools.bench.lowrank import accuracy
from tools.bench.lowrank.accuracy import Case, Judge
from tools.bench.support.tables import show

SAMPLES = 256
PASSES = ("prune:macs=0.8", "prune:ratio=0.05,quant", "quant", "lowrank:macs=0.75")
COLUMNS = ("network", "passes", "draws", "MACs left", "top-1 before", "points lost", "95 %")


@click.command()
@click.argument(
    "models", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder of the corpus.")
@click.option("--draws", default=3, show_default=True, help="Calibration draws.")
@click.option("--passes", multiple=True, default=PASSES, show_default=True, help="What to do with them.")
def main(models: tuple[Path, ...], corpus: Path, draws: int, passes: tuple[str, ...]) -> None:
    """Points of top-1 that compression without training costs."""
    rows = []
    for model in models:
        judge = Judge.on(model, corpus.resolve(), "fashion")
        for one in passes:
            row = accuracy.run(judge, Case(model.stem, one, None, samples=SAMPLES), draws)
            numbers = (
                f"{row['macs_left']:.3f}",
                f"{row['top1_before']:.4f}",
                f"{row['lost']:.2f}",
                f"{row['interval']:.2f}",
            )
            rows.append((model.stem, one, str(row["draws"]), *numbers))
    show(f"compression without training, {SAMPLES} samples", COLUMNS, rows)


if __name__ == "__main__":
    main()
