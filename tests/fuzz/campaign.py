"""Many seeds in processes of their own, which may crash or hang; what is done is kept and not done again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tests.fuzz.graphs.recipe import draw, settle
from tests.fuzz.oracle import FAILURES, judge
from tests.fuzz.specs import by_seed, read

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 50  # seeds that one process takes
SILENCE = 300.0  # seconds without a word after which a process hangs
REPLAYED = 8  # every so manyth seed replays its plan


@dataclass(frozen=True)
class Result:
    """What came of one seed under one spec."""

    seed: int
    spec: str
    kind: str
    key: str = ""
    text: str = ""


def work(first: int, end: int, specs: Sequence[str], stream: IO[str]) -> None:
    """Run the seeds and write a line before and behind each run: what the process of ``campaign`` does."""
    with tempfile.TemporaryDirectory(prefix="graphopt-fuzz-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for seed in range(first, end):
            graph = settle(draw(seed))
            for spec in map(read, specs or [str(by_seed(seed))]):
                print(json.dumps({"begin": [seed, str(spec)]}), file=stream, flush=True)
                if graph is None:
                    result = Result(seed, str(spec), "none")
                else:
                    verdict = judge(graph, spec, Path(folder), replay=seed % REPLAYED == 0)
                    result = Result(seed, str(spec), verdict.kind, verdict.key, verdict.text)
                print(json.dumps(asdict(result)), file=stream, flush=True)


def campaign(
    first: int, end: int, specs: Sequence[str], *, jobs: int = 1, state: Path | None = None
) -> list[Result]:
    """Run a range of seeds; with ``state``, a file of results, what it holds already is not run again."""
    past = _read(state)
    done = {(result.seed, result.spec) for result in past}
    chunks = [range(start, min(start + CHUNK, end)) for start in range(first, end, CHUNK)]
    lock = threading.Lock()

    def run(chunk: range) -> list[Result]:
        missing = [seed for seed in chunk if any((seed, name) not in done for name in _specs(seed, specs))]
        if not missing:
            return []
        found = list(_supervise(missing[0], chunk.stop, specs))
        with lock:
            _append(state, found)
            _say(found, len(chunks))
        return found

    with ThreadPoolExecutor(jobs) as pool:
        fresh = [result for results in pool.map(run, chunks) for result in results]
    latest = {(result.seed, result.spec): result for result in (*past, *fresh)}
    return [result for result in latest.values() if first <= result.seed < end]


def summary(results: Sequence[Result]) -> str:
    """Counts for each spec, then each cause of failure with how often it came and its smallest seed."""
    lines = []
    for spec in sorted({result.spec for result in results}):
        own = [result.kind for result in results if result.spec == spec]
        counts = ", ".join(
            f"{own.count(kind)} {kind}" for kind in ("ok", "refused", *FAILURES) if kind in own
        )
        lines.append(f"{spec}: {counts}")
    for kind in ("refused", *FAILURES):
        causes: dict[str, list[Result]] = {}
        for result in sorted(results, key=lambda result: result.seed):
            if result.kind == kind:
                causes.setdefault(result.key, []).append(result)
        for key, those in sorted(causes.items(), key=lambda item: -len(item[1])):
            specs = sorted({result.spec for result in those})
            lines.append(f"{kind} {len(those)}x: {key}\n    seed {those[0].seed} --spec {those[0].spec}")
            lines.append(f"    specs: {' '.join(specs)}")
    failed = sum(result.kind in FAILURES for result in results)
    lines.append(f"{len(results)} runs, {failed} failed")
    return "\n".join(lines)


def _specs(seed: int, specs: Sequence[str]) -> list[str]:
    return list(specs) or [str(by_seed(seed))]


def _supervise(first: int, end: int, specs: Sequence[str]) -> Iterator[Result]:
    """Results of a range; a process that dies or falls silent is a result, and a new one goes on behind."""
    while first < end:
        begun: tuple[int, str] | None = None
        process = _start(first, end, specs)
        assert process.stdout is not None
        timer = _watch(process)
        for line in process.stdout:
            timer.cancel()
            timer = _watch(process)
            fields = json.loads(line)
            if "begin" in fields:
                begun = (int(fields["begin"][0]), str(fields["begin"][1]))
            else:
                begun = None
                yield Result(**fields)
        timer.cancel()
        code = process.wait()
        if code == 0:
            return
        if begun is None:
            raise RuntimeError(f"the process of seeds {first}:{end} ended with {code} before it began one")
        yield Result(*begun, "hang" if code == -9 else "crash", f"the process ended with {code}")
        first = begun[0] + 1


def _start(first: int, end: int, specs: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fuzz", "work", f"{first}:{end}"]
    command += [part for spec in specs for part in ("--spec", spec)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _watch(process: subprocess.Popen[str]) -> threading.Timer:
    timer = threading.Timer(SILENCE, process.kill)
    timer.daemon = True
    timer.start()
    return timer


def _read(state: Path | None) -> list[Result]:
    if state is None or not state.exists():
        return []
    return [Result(**json.loads(line)) for line in state.read_text("utf-8").splitlines()]


def _append(state: Path | None, results: Sequence[Result]) -> None:
    if state is not None:
        with state.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(result)) + "\n" for result in results)


def _say(results: Sequence[Result], chunks: int) -> None:
    failed = sum(result.kind in FAILURES for result in results)
    seeds = [result.seed for result in results]
    print(
        f"seeds {min(seeds)}..{max(seeds)} of {chunks} chunks: {failed} failed", file=sys.stderr, flush=True
    )
