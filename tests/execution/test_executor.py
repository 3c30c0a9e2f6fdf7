"""Tasks come back once each, from wherever they run, and a sentence says what cannot be."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphopt.errors import DataError, UsageError, WorkersError
from graphopt.execution import Shared, Workers, executor, open_workers, task_seed, tasks
from graphopt.execution.foreign import Foreign
from graphopt.execution.tasks import Identity


def double(number: int) -> int:
    return 2 * number


def length(text: Shared[str], number: int) -> tuple[int, int]:
    return len(text.get()) + number, text.derive("process", lambda text: os.getpid())


def refuse(number: int) -> None:
    raise DataError(f"sample {number} is damaged", hint="mend it")


def die_once(mark: Path, number: int) -> int:
    """End the process in the middle, the first time that any process comes here."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return number
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def always_die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow_once(mark: Path, number: int) -> int:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return number
    time.sleep(60)
    return number


def encode(text: str) -> bytes:
    return text.encode()


def decode(content: bytes) -> str:
    return content.decode()


@pytest.fixture(scope="module")
def pair() -> Iterator[Workers]:
    with open_workers(2) as workers:
        yield workers


def test_results_of_all_calls_come_once(pair: Workers) -> None:
    expected = [(number, 2 * number) for number in range(20)]
    for workers in (Workers(), pair):
        assert sorted(workers.map(double, [(number,) for number in range(20)])) == expected
        assert list(workers.map(double, [])) == []


def test_a_shared_value_is_the_same_everywhere_and_opened_once_a_process(pair: Workers) -> None:
    text = pair.share("x" * 1000, encode, decode)
    results = dict(pair.map(length, [(text, number) for number in range(12)]))
    assert [size for size, _ in results.values()] != [] and {
        number: size for number, (size, _) in results.items()
    } == {number: 1000 + number for number in range(12)}
    assert os.getpid() not in {process for _, process in results.values()}
    assert len(pickle.dumps(text)) < 300


def test_in_one_process_nothing_is_copied() -> None:
    workers = Workers()
    value = ["anything"]
    assert workers.share(value, pickle.dumps, pickle.loads).get() is value


def test_an_error_comes_back_whole_and_names_the_worker(pair: Workers) -> None:
    with pytest.raises(DataError, match=r"sample 3 is damaged \(on the worker .*\)") as caught:
        list(pair.map(refuse, [(3,)]))
    assert caught.value.hint == "mend it"


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    with open_workers(2) as workers:
        calls = [(tmp_path / "mark", number) for number in range(8)]
        assert sorted(workers.map(die_once, calls)) == [(number, number) for number in range(8)]


def test_a_task_that_kills_every_worker_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "STRIKES", 1)
    with open_workers(2) as workers, pytest.raises(WorkersError, match="2 workers ended"):
        list(workers.map(always_die, [(1,)]))


def test_what_a_slow_worker_has_is_done_by_another_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "PATIENCE", 0.5)
    with open_workers(2) as workers:
        calls = [(tmp_path / "mark", number) for number in range(6)]
        assert sorted(workers.map(slow_once, calls)) == [(number, number) for number in range(6)]


def test_a_foreign_executor_gets_contents_with_the_tasks_that_lack_them() -> None:
    with ThreadPoolExecutor(3) as pool, open_workers(pool) as workers:
        text = workers.share("y" * 10, encode, decode)
        results = dict(workers.map(length, [(text, number) for number in range(6)]))
        assert {number: size for number, (size, _) in results.items()} == {n: 10 + n for n in range(6)}
        assert workers.count == 3 and not workers.is_local
        assert pool.submit(double, 2).result() == 4  # it is the caller's: not shut down


@pytest.mark.parametrize("package", ["graphopt", "onnxruntime", "numpy"])
def test_another_version_is_refused_by_name(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Identity.here()
    other = Identity(tuple((n, "0.0.1" if n == package else v) for n, v in own.packages), own.isa)
    with ThreadPoolExecutor(1) as pool:
        workers = Workers(Foreign(pool))
        monkeypatch.setattr(tasks.Identity, "here", classmethod(lambda cls: other))
        with pytest.raises(WorkersError, match=rf"has {package} 0\.0\.1, not "):
            list(workers.map(double, [(1,)]))


def test_another_instruction_set_is_refused_unless_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Identity(Identity.here().packages, "abacus")
    with ThreadPoolExecutor(1) as pool:
        strict, lenient = Workers(Foreign(pool)), Workers(Foreign(pool), heterogeneous=True)
        monkeypatch.setattr(tasks.Identity, "here", classmethod(lambda cls: other))
        with pytest.raises(WorkersError, match="computes with abacus") as caught:
            list(strict.map(double, [(1,)]))
        assert "--heterogeneous" in caught.value.hint
        assert list(lenient.map(double, [(1,)])) == [(0, 2)]
        assert lenient.record() == {"workers": {"count": 1, "isa": ["abacus"], "heterogeneous": True}}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (0, "from 1 to 1024"),
        (True, "from 1 to 1024"),
        ("5000", "from 1 to 1024"),
        ("host:8786", "neither a number nor the address"),
        ("missing.json", "no scheduler file"),
        (3.5, "cannot take tasks"),
    ],
)
def test_what_are_no_workers_is_said_before_the_work(given: object, text: str) -> None:
    with pytest.raises(UsageError, match=text), open_workers(given):
        pass


def test_seeds_differ_between_tasks_and_stay_the_same() -> None:
    seeds = {task_seed(seed, purpose, n) for seed in (0, 1) for purpose in "ab" for n in range(50)}
    assert len(seeds) == 200 and task_seed(7, "trial", 3) == task_seed(7, "trial", 3) < 2**64
