"""Samples are answered several at a time, and what comes out is what one after the other gives."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.runtime import Session, SessionOptions, trial_shapes
from graphopt.runtime import in_order as module
from graphopt.runtime.in_order import HELD_BYTES, in_order
from tests.corpus import random_cnn

PATIENCE = 30.0  # seconds; a test that waits so long has failed


def slow() -> Callable[[], float]:
    """A clock by which every answer takes a second."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def quick() -> float:
    return 0.0


def test_answers_come_in_the_order_of_the_items_though_later_ones_are_ready_first() -> None:
    third_is_done = threading.Event()

    def answer(item: int) -> int:
        if item == 2:
            assert third_is_done.wait(PATIENCE)
        if item == 3:
            third_is_done.set()
        return item * item

    assert list(in_order(answer, range(6), 2, clock=slow())) == [(n, n * n) for n in range(6)]


@pytest.mark.parametrize(("threads", "clock"), [(1, slow()), (3, quick)])
def test_one_thread_and_short_runs_stay_on_the_thread_that_asks(
    threads: int, clock: Callable[[], float]
) -> None:
    made = list(in_order(lambda _: threading.get_ident(), range(9), threads, clock=clock))
    assert {ident for _, ident in made} == {threading.get_ident()}


def test_the_first_run_decides_nothing_because_it_is_slower_than_others() -> None:
    times = iter([0.0, 9.0, 9.0, 9.0, 9.0, 9.0])
    made = list(in_order(lambda _: threading.get_ident(), range(3), 2, clock=lambda: next(times)))
    assert {ident for _, ident in made} == {threading.get_ident()}


@pytest.mark.parametrize(("nbytes", "most"), [(1, 3), (HELD_BYTES // 2, 2), (2 * HELD_BYTES, 1)])
def test_no_more_run_at_a_time_than_threads_and_memory_allow(nbytes: int, most: int) -> None:
    lock, running, seen = threading.Lock(), set[int](), [0]
    together = threading.Barrier(most)

    def answer(item: int) -> dict[str, np.ndarray]:
        with lock:
            running.add(item)
            seen[0] = max(seen[0], len(running))
        if item >= 2:  # those before run alone
            together.wait(PATIENCE)
        with lock:
            running.remove(item)
        return {"y": np.broadcast_to(np.uint8(0), (nbytes,))}

    assert len(list(in_order(answer, range(2 + 4 * most), 3, clock=slow()))) == 2 + 4 * most
    assert seen == [most]


def test_items_are_taken_a_few_in_advance_only() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    for number, _ in in_order(lambda item: item, items(), 2, clock=slow()):
        assert len(taken) <= number + 1 + 2


@pytest.mark.parametrize("bad", [0, 1, 5])
def test_an_error_is_raised_in_the_place_of_its_answer(bad: int) -> None:
    def answer(item: int) -> int:
        if item == bad:
            raise ValueError(f"no answer to {item}")
        return item

    came = []
    with pytest.raises(ValueError, match=f"no answer to {bad}"):
        for item, _ in in_order(answer, range(9), 3, clock=slow()):
            came.append(item)
    assert came == list(range(bad))


def test_leaving_early_waits_for_what_was_begun_and_begins_no_more() -> None:
    begun: list[int] = []
    iteration = in_order(begun.append, range(50), 2, clock=slow())
    for item, _ in iteration:
        if item == 4:
            break
    iteration.close()
    count = len(begun)
    assert count <= 4 + 1 + 2
    assert threading.active_count() == 1 or not any("ThreadPool" in t.name for t in threading.enumerate())
    assert len(begun) == count


@pytest.mark.parametrize(
    ("options", "timed", "threads", "at_once"),
    [
        (SessionOptions(3), False, 1, 3),
        (SessionOptions(3), True, 3, 1),
        (SessionOptions(3, custom_ops=("lib.so",)), False, 3, 1),
        (SessionOptions(1), False, 1, 1),
    ],
)
def test_threads_answer_several_samples_or_work_inside_of_operators(
    options: SessionOptions, timed: bool, threads: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    monkeypatch.setattr(
        Session, "_settings", lambda self, level, used: opened.append(used.threads) or _plain(level)
    )
    session = Session(random_cnn(0).SerializeToString(), options, timed=timed)
    assert opened == [threads]
    used: list[int] = []
    monkeypatch.setattr("graphopt.runtime.session.in_order", lambda a, i, most: used.append(most) or iter(()))
    list(session.answers([], lambda item: item))
    assert used == [at_once]


def _plain(level: object) -> object:
    import onnxruntime

    return onnxruntime.SessionOptions()


def test_a_session_answers_the_same_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH", -1.0)
    model = ir.from_bytes(random_cnn(3).SerializeToString())
    samples = data.synthetic(model.signature.inputs, trial_shapes(model, {}, None).shapes, 7, 3)
    one, many = (
        [made for _, made in Session(model, SessionOptions(n)).answers(samples, lambda s: s.feeds)]
        for n in (1, 3)
    )
    assert len(one) == len(many) == 7
    for first, second in zip(one, many, strict=True):
        assert {n: v.tobytes() for n, v in first.items()} == {n: v.tobytes() for n, v in second.items()}
