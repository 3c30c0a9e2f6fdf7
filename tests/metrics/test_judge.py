"""The one loop: what is judged, what is left out and said, and what answers without numbers cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt import data
from graphopt.data import Samples
from graphopt.errors import DataError, ModelError, UsageError
from graphopt.ir import Port
from graphopt.metrics import Classification, Generic, Judge, Outcome, UserFunction, judge

IMAGES = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)


def samples(labels: np.ndarray | None = None) -> Samples:
    arrays = {"x": IMAGES} if labels is None else {"x": IMAGES, "labels": labels}
    return data.from_arrays(arrays, [Port("x", np.dtype(np.float32), ("N", 3))])


def model(change: Callable[[np.ndarray], np.ndarray] = lambda scores: scores) -> Callable[[Any], Any]:
    return lambda sample: {"y": change(sample.feeds["x"])}


def test_both_models_are_judged_on_the_same_samples() -> None:
    labels = IMAGES.argmax(axis=1)
    labels[:4] = (labels[:4] + 1) % 3  # 36 of 40 are right
    verdict = Judge(samples(labels)).judge(model(lambda scores: -scores), model())
    assert verdict.outcome.reference_metrics["top1"] == 0.9
    wrong = np.mean((-IMAGES).argmax(axis=1) == labels)
    assert verdict.outcome.metrics["top1"] == wrong
    assert verdict.drop == pytest.approx(100 * (0.9 - wrong))
    change = verdict.outcome.paired["top1"]
    before, after = IMAGES.argmax(axis=1) == labels, (-IMAGES).argmax(axis=1) == labels
    spread = (after.astype(float) - before).std() / np.sqrt(len(labels))
    assert change.error == pytest.approx(spread, rel=0.1), "the standard error of a paired mean"
    assert change.low < change.difference < change.high < 0


def test_without_labels_a_drop_is_the_share_of_answers_that_changed() -> None:
    changed = np.mean(IMAGES.argmax(axis=1) != (IMAGES * [1, 1, 3]).argmax(axis=1))
    verdict = Judge(samples()).judge(model(lambda scores: scores * [1, 1, 3]), model())
    assert verdict.drop == pytest.approx(100 * changed) and 0 < changed < 1
    assert not verdict.outcome.metrics


def test_labels_that_do_not_count_are_not_looked_at() -> None:
    wrong = np.full(40, 7)
    with pytest.raises(DataError, match="label 7"):
        Judge(samples(wrong)).judge(model(), model())
    assert not Judge(samples(wrong), labelled=False).judge(model(), model()).outcome.metrics


def test_what_is_no_classifier_is_compared_output_by_output_and_has_no_points() -> None:
    def maps(sample: Any) -> Any:
        return {"y": np.ones((1, 2, 4, 4), np.float32)}

    verdict = Judge(samples()).judge(maps, maps)
    assert isinstance(verdict.metric, Generic) and not verdict.metric.can_judge
    assert verdict.drop is None
    assert verdict.agreement == {"snr_db": {"y": 300.0}}
    assert verdict.outcome.details["outputs"]["y"]["max_abs"] == 0.0


def test_samples_that_the_reference_does_not_take_are_counted_and_said() -> None:
    def choosy(sample: Any) -> Any:
        if sample.feeds["x"][0, 0] > 0:
            raise ModelError("no positive numbers")
        return {"y": sample.feeds["x"]}

    count = Judge(samples()).judge(model(), choosy).count
    left = int((IMAGES[:, 0] > 0).sum())
    assert (count.samples, count.skipped) == (40 - left, left)
    assert f"{left} of 40 samples" in count.left_out("the input")
    assert "no positive numbers" in count.left_out("the input")
    assert Judge(samples()).judge(model(), model()).count.left_out("the input") == ""
    count.samples = 0
    with pytest.raises(ModelError, match="none of the samples"):
        count.left_out("the input")


def test_answers_that_are_no_numbers_are_infinitely_worse() -> None:
    def nan(scores: np.ndarray) -> np.ndarray:
        return np.full_like(scores, np.nan)

    labels = IMAGES.argmax(axis=1)
    assert Judge(samples(labels)).judge(model(nan), model()).drop == 100.0, "no answer is right"
    assert Judge(samples()).judge(model(nan), model()).drop == 100.0, "no answer agrees"
    own = UserFunction(lambda outputs, labels: outputs["y"].max(axis=1))
    assert Judge(samples(), own).judge(model(nan), model()).drop == math.inf
    judge = Classification()
    assert judge.drop(Outcome({"top1": math.nan}, {"top1": 0.5})) == math.inf
    assert judge.drop(Outcome({"top1": 0.5}, {"top1": math.nan})) is None, "what cannot be judged"


def test_samples_whose_reference_is_no_number_are_said() -> None:
    def sometimes(scores: np.ndarray) -> np.ndarray:
        return np.where(scores[:, :1] > 0, np.nan, scores)

    details = Judge(samples()).judge(model(), model(sometimes)).outcome.details
    assert details["unjudged"] == int((IMAGES[:, 0] > 0).sum())


def test_an_own_function_sees_outputs_and_labels_sample_by_sample() -> None:
    labels = IMAGES.argmax(axis=1)

    def score(outputs: dict[str, Any], right: np.ndarray) -> np.ndarray:
        return outputs["y"][np.arange(len(right)), right]

    verdict = Judge(samples(labels), UserFunction(score)).judge(model(lambda y: y / 2), model())
    best = float(IMAGES.max(axis=1).mean())
    assert verdict.outcome.reference_metrics == {"score": pytest.approx(best)}
    assert verdict.drop == pytest.approx(100 * best / 2)
    assert verdict.outcome.paired["score"].high < 0


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda outputs, labels: [1.0, 2.0], "returned 2 values for 1 samples"),
        (lambda outputs, labels: [], "returned 0 values for 1 samples"),
        (lambda outputs, labels: [math.nan], "returned nan"),
        (lambda outputs, labels: labels[0], "there are no labels"),
        (lambda outputs, labels: {}["key"], "KeyError: 'key'"),
        (lambda outputs, labels: "much", "failed: ValueError"),
    ],
)
def test_an_own_function_that_is_wrong_is_one_sentence(function: Any, said: str) -> None:
    for reference in (None, model()):
        with pytest.raises(UsageError) as error:
            Judge(samples(), UserFunction(function, "mine")).judge(model(), reference)
        assert "the metric mine" in str(error.value)
        assert said in f"{error.value} {error.value.hint}"
        assert "\n" not in str(error.value)


def test_answers_are_remembered_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where some samples fail, and where only a part of the answers fits."""

    class Choosy:
        runs = 0

        def run(self, feeds: Any) -> Any:
            self.runs += 1
            if feeds["x"][0, 0] > 0:
                raise ModelError("no positive numbers")
            return {"y": feeds["x"]}

    for most, again in ((2**20, int((IMAGES[:, 0] > 0).sum())), (10 * IMAGES[0].nbytes, 30)):
        monkeypatch.setattr(judge, "KEPT", most)
        choosy = Choosy()
        remembered = judge.Remembered(choosy)
        for _ in range(2):
            before = choosy.runs
            verdict = Judge(samples()).judge(model(), remembered)
            assert verdict.drop == 0.0
        assert choosy.runs - before == again
