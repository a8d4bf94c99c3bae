from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from st_ray.learn.metrics import Confusion


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Confusion:
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return Confusion(counts)


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400)
    return truth, np.where(rng.random(400) < 0.7, truth, rng.integers(0, 5, 400))


def test_scores_are_scikit_learns(pairs) -> None:
    truth, predicted = pairs
    ours = confusion(truth, predicted, 5)
    assert ours.overall_accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert ours.kappa == pytest.approx(metrics.cohen_kappa_score(truth, predicted))
    assert ours.average_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, predicted)
    np.testing.assert_allclose(ours.precision_C, precision)
    np.testing.assert_allclose(ours.recall_C, recall)
    np.testing.assert_allclose(ours.f1_C, f1)


def test_a_class_without_samples_is_nan_and_not_averaged() -> None:
    ours = confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert np.isnan(ours.recall_C[2])
    assert np.isnan(ours.precision_C[2])
    assert ours.average_accuracy == pytest.approx(0.75)


def test_no_samples_have_no_score() -> None:
    ours = Confusion(np.zeros((3, 3), dtype=np.int64))
    scores = ours.overall_accuracy, ours.average_accuracy, ours.kappa
    assert np.isnan(scores).all()


def test_one_class_guessed_right_has_kappa_one() -> None:
    assert Confusion(np.array([[4]])).kappa == 1.0
