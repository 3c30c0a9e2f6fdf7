"""CPU seconds and peak memory of whole processes, taken interleaved and as the least of several runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Limits:
    """What a measured process may use: CPU seconds before it is stopped, and threads (and cores)."""

    cpu_seconds: int = 900
    threads: int = 1


@dataclass(frozen=True)
class Run:
    """One finished process: exit code, CPU and wall seconds, peak resident bytes, and what it printed."""

    exit_code: int
    cpu: float
    wall: float
    peak: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the process ended with exit code 0."""
        return self.exit_code == 0

    @property
    def complaint(self) -> str:
        """The line in which a failed process names its error (else its last line), or how it was stopped."""
        if self.ok:
            return ""
        if self.exit_code < 0:
            return f"stopped by signal {-self.exit_code} after {self.cpu:.0f} CPU s"
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        said = (errors or lines or ["no message"])[-1]
        return f"exit code {self.exit_code}: {said.strip()}"


@dataclass(frozen=True)
class Least:
    """The least of several runs of one command; a single failed run makes the command failed."""

    runs: tuple[Run, ...]

    @property
    def failure(self) -> str:
        """Why the first failed run failed; empty when every run worked."""
        return next((run.complaint for run in self.runs if not run.ok), "")

    @property
    def cpu(self) -> float:
        """Least CPU seconds (user and system) of the whole process."""
        return min(run.cpu for run in self.runs)

    @property
    def wall(self) -> float:
        """Least wall seconds."""
        return min(run.wall for run in self.runs)

    @property
    def peak(self) -> int:
        """Largest peak resident memory in bytes: memory is a promise, so the worst run counts."""
        return max(run.peak for run in self.runs)


def run(command: Sequence[str], scratch: Path, limits: Limits) -> Run:
    """Run one command to its end inside ``scratch`` and say what it used.

    Its own prints go to files in ``scratch``, so nothing of the measurement waits for a pipe.
    """
    stdout, stderr = scratch / "stdout.txt", scratch / "stderr.txt"
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(stdout), str(stderr)]
    answer = subprocess.run(
        [*launcher, str(limits.cpu_seconds), str(limits.threads), *command],
        cwd=scratch,
        env=pinned(limits.threads),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    used = json.loads(answer.stdout)
    return Run(**used, stdout=_text(stdout), stderr=_text(stderr))


def interleaved(
    commands: Mapping[str, Sequence[str]], runs: int, scratch: Path, limits: Limits
) -> dict[str, Least]:
    """Run every command ``runs`` times, one round after the other, so that all see the same machine.

    A command that failed once is not run again.
    """
    results: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            if all(earlier.ok for earlier in results[name]):
                results[name].append(run(command, scratch, limits))
    return {name: Least(tuple(finished)) for name, finished in results.items()}


def pinned(threads: int) -> dict[str, str]:
    """This process' environment with the usual thread variables set to ``threads``.

    Python may keep its compiled files, as it does for users: an environment without them compiles numpy and
    onnx at every start, which takes longer than most of the tools need for their work.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
