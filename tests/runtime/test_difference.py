"""The distance between outputs, and what it proves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.runtime import (
    Accuracy,
    Agreement,
    Comparison,
    Difference,
    Verdict,
    classifier_output,
    differences,
)


def f32(values: list[Any]) -> np.ndarray:
    return np.array(values, np.float32)


def only(reference: np.ndarray, candidate: np.ndarray) -> Difference:
    return differences({"y": reference}, {"y": candidate})["y"]


def test_equal_outputs_are_the_same() -> None:
    result = only(f32([1, -2]), f32([1, -2]))
    assert result.relative == 0 and result.snr_db == math.inf and result.verdict() is Verdict.SAME


def test_the_relative_difference_is_that_of_the_largest_values() -> None:
    result = only(f32([1, -4]), f32([1.5, -4]))
    assert result.relative == pytest.approx(0.125)
    assert result.snr_db == pytest.approx(10 * math.log10(17 / 0.25))
    assert result.verdict() is Verdict.DIFFERENT
    assert result.verdict(tolerance=0.2) is Verdict.SAME


def test_float16_is_judged_with_its_own_tolerance() -> None:
    values = f32([1.0, 0.99])
    assert only(f32([1, 1]).astype(np.float16), values.astype(np.float16)).verdict() is Verdict.SAME
    assert only(f32([1, 1]), values).verdict() is Verdict.DIFFERENT


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reference_that_is_not_finite_is_never_a_pass(bad: float) -> None:
    reference = f32([bad, 1])
    assert only(reference, reference).verdict() is Verdict.CANNOT_JUDGE
    assert only(reference, f32([bad, 2])).verdict() is Verdict.DIFFERENT


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_candidate_that_is_not_finite_is_different(bad: float) -> None:
    result = only(f32([3, 1]), f32([bad, 1]))
    assert result.verdict() is Verdict.DIFFERENT and result.snr_db == -math.inf


def test_integers_booleans_and_text_must_be_equal() -> None:
    for values in (np.array([1, 2]), np.array([True, False]), np.array(["a", "b"], dtype=object)):
        assert only(values, values.copy()).verdict() is Verdict.SAME
        assert only(values, values[::-1]).unequal == 2
        assert only(values, values[::-1]).verdict(tolerance=10.0) is Verdict.DIFFERENT


def test_other_shapes_types_and_missing_outputs_are_different() -> None:
    assert "shape" in only(np.zeros((1, 2)), np.zeros((2, 1))).mismatch
    assert "type" in only(f32([1]), f32([1]).astype(np.float64)).mismatch
    missing = differences({"y": np.zeros(1)}, {})["y"]
    assert missing.verdict() is Verdict.DIFFERENT


def test_a_zero_reference_with_a_difference_is_different() -> None:
    assert only(np.zeros(3), np.full(3, 1e-9)).verdict() is Verdict.DIFFERENT


def test_empty_outputs_are_the_same() -> None:
    assert only(np.zeros((0, 4)), np.zeros((0, 4))).verdict() is Verdict.SAME


def test_sequences_and_maps_are_compared_element_by_element() -> None:
    outputs = {"s": [np.zeros(2), {7: 1.0, 3: 2.0}], "none": None}
    assert set(differences(outputs, outputs)) == {"s[0]", "s[1][3]", "s[1][7]"}
    longer = {"s": [np.zeros(2)]}
    assert differences(outputs, longer)["s[1][7]"].verdict() is Verdict.DIFFERENT


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1), st.integers(0, 20))
def test_sums_over_samples_are_those_of_the_whole(pairs: list[tuple[float, float]], cut: int) -> None:
    a, b = np.array(pairs).T
    comparison = Comparison()
    comparison.update({"y": a[:cut]}, {"y": b[:cut]})
    comparison.update({"y": a[cut:]}, {"y": b[cut:]})
    parts, whole = comparison.result()["y"], only(a, b)
    assert (parts.max_abs, parts.peak, parts.elements) == (whole.max_abs, whole.peak, whole.elements)
    assert parts.snr_db == pytest.approx(whole.snr_db, rel=1e-12)


def test_agreement_counts_equal_classes() -> None:
    agreement = Agreement()
    assert agreement.rate is None
    agreement.update(f32([[1, 2], [3, 1]]), f32([[0, 9], [0, 1]]))
    agreement.update(f32([[1, np.nan]]), f32([[0, 9]]))
    agreement.update(f32([[2, 1]]), f32([[np.nan, 9]]))
    assert (agreement.same, agreement.judged, agreement.unjudged) == (1, 3, 1)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_accuracy_is_that_of_a_stable_sort(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (20, classes)).astype(np.float32)  # many ties
    labels = rng.integers(-1, classes + 1, 20)  # some outside the classes
    order = np.argsort(-scores, axis=1, kind="stable")
    accuracy = Accuracy()
    accuracy.update(scores[:7], labels[:7])
    accuracy.update(scores[7:, :, None, None], labels[7:])
    assert accuracy.top1 == np.mean(order[:, 0] == labels)
    expected = np.mean((order[:, :5] == labels[:, None]).any(axis=1))
    assert accuracy.top5 == (expected if classes > 5 else None)


def test_scores_that_are_not_numbers_are_wrong() -> None:
    accuracy = Accuracy()
    accuracy.update(np.full((3, 4), np.nan), np.zeros(3, np.int64))
    assert accuracy.top1 == 0


def test_the_classifier_output_is_the_only_one_with_a_row_of_scores() -> None:
    scores, feature, index = np.zeros((1, 10)), np.zeros((1, 8, 4, 4)), np.zeros((1, 10), np.int64)
    assert classifier_output({"f": feature, "s": scores, "i": index}) == "s"
    assert classifier_output({"s": scores, "t": scores}) is None
    assert classifier_output({"pooled": np.zeros((1, 10, 1, 1))}) == "pooled"
    assert classifier_output({"one": np.zeros((1, 1))}) is None
