"""``python -m tools.bench``: compare graphopt with its peers, in one run on one machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tools.bench import fold, fusions
from tools.bench.cost import deep, memory, scale, startup, synthetic
from tools.bench.lowrank import lowrank
from tools.bench.prune import families, prune
from tools.bench.quant import quant
from tools.bench.support import corpus as corpus_runs
from tools.bench.support import subject
from tools.bench.support.measure import Limits
from tools.bench.support.peers import DEFAULT_ENVIRONMENT, Environment
from tools.bench.support.session import Session
from tools.bench.support.tables import Record

CHECKOUT = Path(__file__).resolve().parents[2]
CORPUS = CHECKOUT.parent / "shared" / "corpus"
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)

SHARED = (
    click.option(
        "--env",
        "environment",
        type=FOLDER,
        default=DEFAULT_ENVIRONMENT,
        show_default=True,
        help="Environment of the peers; created and filled when it is not there.",
    ),
    click.option(
        "--graphopt", "start", metavar="COMMAND", help="How to start graphopt (default: this environment's)."
    ),
    click.option(
        "--runs",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="Runs of every tool; the least counts.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Threads and cores of a run.",
    ),
    click.option(
        "--stop-after",
        type=click.IntRange(min=1),
        default=900,
        show_default=True,
        help="CPU seconds a run may take.",
    ),
    click.option("--work", type=FOLDER, help="Keep models and outputs here (default: a temporary folder)."),
    click.option("--json", "json_path", type=FILE, help="Write all figures to this file."),
)


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that every bench has."""
    for option in reversed(SHARED):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Compare graphopt with its peers.

    Seconds are CPU seconds (user and system) of the whole process, the least of several runs that are
    interleaved with the peers' runs.  Memory is the peak resident size of the process.  Compute nodes are
    nodes that are not Constant.  The exit code is 1 when a goal was missed.
    """


@main.command("env")
@click.option("--env", "environment", type=FOLDER, default=DEFAULT_ENVIRONMENT, show_default=True)
def install(environment: Path) -> None:
    """Create the peers' environment and print the versions in it."""
    peers_environment = Environment(environment.absolute())
    peers_environment.ensure()
    for name, version in peers_environment.installed().items():
        click.echo(f"{name} {version}")


@main.command("fold")
@shared_options
@click.option(
    "--corpus", type=FOLDER, default=CORPUS, help="Folder of the corpus (default: beside the checkout)."
)
@click.option("--models", type=FOLDER, help="Take every .onnx of this folder instead of the corpus' six.")
@click.option("--peers-only", is_flag=True, help="Leave graphopt out.")
def fold_command(corpus: Path, models: Path | None, peers_only: bool, **shared: Any) -> None:
    """What clean,fold-bn leaves of real models: nodes, bytes, seconds, differences."""
    chosen = _models(corpus, models)
    with _session(**shared) as (session, finish):
        finish(fold.bench(session, chosen, not peers_only))


@main.command("fusions")
@shared_options
@click.option("--models", type=FOLDER, required=True, help="Folder of .onnx files, as exports.py writes it.")
@click.option("--only", "pattern", default="*", show_default=True, help="Files whose names match.")
@click.option(
    "--seconds", default=8.0, show_default=True, help="CPU time of the interleaved runs of a network."
)
def fusions_command(models: Path, pattern: str, seconds: float, **shared: Any) -> None:
    """What clean,fold-bn does to latency and to onnxruntime's fusions on exported networks."""
    chosen = [path for path in _models(models, models) if path.match(pattern)]
    with _session(need_peers=False, **shared) as (session, finish):
        finish(fusions.bench(session, chosen, seconds))


@main.command("corpus")
@shared_options
@click.option(
    "--corpus", type=FOLDER, default=CORPUS, help="Folder of the corpus (default: beside the checkout)."
)
def corpus_command(corpus: Path, **shared: Any) -> None:
    """The whole job on every model of the corpus: size, MACs, time, accuracy."""
    _models(corpus, None)
    with _session(need_peers=False, **shared) as (session, finish):
        finish(corpus_runs.bench(session, corpus.resolve()))


@main.command("prune")
@shared_options
@click.option(
    "--torch-env",
    type=FOLDER,
    default=Path.home() / ".cache" / "graphopt" / "torchvision",
    show_default=True,
    help="Environment with torchvision and torch-pruning.",
)
@click.option(
    "--exports",
    type=FOLDER,
    default=families.DEFAULT_EXPORTS,
    show_default=True,
    help="Exported networks are kept here.",
)
@click.option("--only", "pattern", default="*", show_default=True, help="Networks whose names match.")
@click.option("--subject-only", is_flag=True, help="Leave the peers out.")
@click.option(
    "--rows",
    type=click.Choice(["families", "accuracy", "all"]),
    default="all",
    show_default=True,
    help="Reach and exactness on many networks, accuracy on trained ones, or both.",
)
@click.option(
    "--corpus", type=FOLDER, default=CORPUS, help="Folder of the corpus (default: beside the checkout)."
)
def prune_command(
    torch_env: Path, exports: Path, pattern: str, subject_only: bool, rows: str, corpus: Path, **shared: Any
) -> None:
    """Pruning: reach and exactness on all families of networks, and accuracy without training."""
    options = prune.Options(exports.absolute(), torch_env.absolute(), pattern, not subject_only)
    with _session(need_peers=not subject_only and rows != "accuracy", **shared) as (session, finish):
        record = prune.bench(session, options) if rows != "accuracy" else session.record("prune")
        measured = prune.accuracy(session, corpus.resolve()) if rows != "families" else None
        if measured is not None:
            record.rows += measured.rows
            record.goals += measured.goals
        finish(record)


@main.command("scale")
@shared_options
@click.option("--small", default=scale.SMALL, show_default=True, help="Nodes of the small graph.")
@click.option("--large", default=scale.LARGE, show_default=True, help="Nodes of the large graph.")
@click.option("--peers-only", is_flag=True, help="Leave graphopt out.")
def scale_command(small: int, large: int, peers_only: bool, **shared: Any) -> None:
    """Time and memory on generated residual graphs of two sizes."""
    with _session(**shared) as (session, finish):
        finish(scale.bench(session, small, large, not peers_only))


@main.command("deep")
@shared_options
@click.option("--samples", default=deep.SAMPLES, show_default=True, help="Calibration samples.")
def deep_command(samples: int, **shared: Any) -> None:
    """What prune and lowrank take with their defaults on a ResNet-56 of random weights."""
    with _session(need_peers=False, **shared) as (session, finish):
        finish(deep.bench(session, samples))


@main.command("lowrank")
@shared_options
@click.option(
    "--corpus", type=FOLDER, default=CORPUS, help="Folder of the corpus (default: beside the checkout)."
)
@click.option("--part", type=click.Choice(["all", "accuracy", "speed", "cost"]), default="all")
@click.option("--draws", type=click.IntRange(min=1), default=5, show_default=True, help="Calibration draws.")
@click.option("--model", "pattern", default="", help="Only models whose name begins so (accuracy).")
def lowrank_command(corpus: Path, part: str, draws: int, pattern: str, **shared: Any) -> None:
    """Low rank: accuracy without training, measured time of a wide network, cost of the pass itself."""
    if part != "speed":
        _models(corpus, None)
    with _session(need_peers=False, **shared) as (session, finish):
        finish(lowrank.bench(session, corpus.resolve(), lowrank.Options(part, draws, pattern)))


@main.command("quant")
@shared_options
@click.option(
    "--corpus", type=FOLDER, default=CORPUS, help="Folder of the corpus (default: beside the checkout)."
)
@click.option("--part", type=click.Choice(["all", "accuracy", "calibration"]), default="all")
@click.option("--draws", type=click.IntRange(min=1), default=5, show_default=True, help="Calibration draws.")
@click.option("--model", "pattern", default="", help="Only models whose name begins so (accuracy).")
@click.option("--nncf", type=FILE, help="Interpreter of an environment with NNCF (default: leave it out).")
@click.option("--tool", "tools", multiple=True, help="Only these quantizers, as the tables name them.")
def quant_command(
    corpus: Path,
    part: str,
    draws: int,
    pattern: str,
    nncf: Path | None,
    tools: tuple[str, ...],
    **shared: Any,
) -> None:
    """INT8: accuracy and latency against other quantizers, time and memory of calibration."""
    _models(corpus, None)
    with _session(need_peers=False, **shared) as (session, finish):
        finish(quant.bench(session, corpus.resolve(), quant.Options(part, draws, pattern, nncf, tools)))


@main.command("memory")
@shared_options
@click.option("--matrices", default=synthetic.MATRICES, show_default=True, help="Number of weight matrices.")
@click.option("--width", default=synthetic.WIDTH, show_default=True, help="Rows and columns of a matrix.")
def memory_command(matrices: int, width: int, **shared: Any) -> None:
    """Peak memory on a model with gigabytes of external weights (needs room for three copies)."""
    with _session(need_peers=False, **shared) as (session, finish):
        finish(memory.bench(session, matrices, width))


@main.command("startup")
@shared_options
def startup_command(**shared: Any) -> None:
    """How long graphopt --help takes."""
    with _session(need_peers=False, **shared) as (session, finish):
        finish(startup.bench(session))


@contextmanager
def _session(
    environment: Path,
    start: str | None,
    runs: int,
    threads: int,
    stop_after: int,
    work: Path | None,
    json_path: Path | None,
    need_peers: bool = True,
) -> Iterator[tuple[Session, Callable[[Record], None]]]:
    """Open a session and hand out what ends it: write the JSON, exit with 1 when a goal was missed."""

    def finish(record: Record) -> None:
        if json_path:
            record.write(json_path)
        if not record.met:
            raise SystemExit(1)

    peers_environment = Environment(environment.absolute())
    if need_peers:
        peers_environment.ensure()
    with tempfile.TemporaryDirectory(prefix="graphopt-bench-") as temporary:
        scratch = (work or Path(temporary)).absolute()
        scratch.mkdir(parents=True, exist_ok=True)
        limits = Limits(stop_after, threads)
        yield Session(peers_environment, scratch, subject.executable(start), runs, limits), finish


def _models(corpus: Path, models: Path | None) -> list[Path]:
    """The models to fold; a usage error that says what to do when they are not there."""
    if models:
        found = sorted(models.absolute().glob("*.onnx"))
        if not found:
            raise click.UsageError(f"no .onnx file in {models}")
        return found
    if not corpus.is_dir():
        raise click.UsageError(
            f"no corpus at {corpus}: name it with --corpus, or a folder of models with --models"
        )
    return [(corpus / "models" / f"{name}.onnx").resolve() for name in fold.MODELS]


if __name__ == "__main__":
    main(prog_name="python -m tools.bench")
