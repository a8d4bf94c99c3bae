"""Scores of a classification map, all derived from one confusion matrix.

Source: Congalton 1991, "A review of assessing the accuracy of classifications of remotely sensed
data", Remote Sensing of Environment 37, 35-46.

Shape letter: C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of (true class, predicted class).

    Attributes:
        counts_CC: int64; rows are the truth, columns the prediction.
    """

    counts_CC: NDArray[np.int64]

    @property
    def overall_accuracy(self) -> float:
        """OA: share of samples that are right; NaN without samples."""
        return _ratio(np.trace(self.counts_CC), self.counts_CC.sum())

    @property
    def recall_C(self) -> NDArray[np.float64]:
        """Producer's accuracy of each class; NaN for a class without true samples."""
        return _ratios(np.diag(self.counts_CC), self.counts_CC.sum(axis=1))

    @property
    def precision_C(self) -> NDArray[np.float64]:
        """User's accuracy of each class; NaN for a class that is never predicted."""
        return _ratios(np.diag(self.counts_CC), self.counts_CC.sum(axis=0))

    @property
    def f1_C(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall; NaN where neither has samples."""
        marginals = self.counts_CC.sum(axis=0) + self.counts_CC.sum(axis=1)
        return _ratios(2 * np.diag(self.counts_CC), marginals)

    @property
    def average_accuracy(self) -> float:
        """AA: mean recall of the classes that have samples; NaN without any."""
        recall = self.recall_C[~np.isnan(self.recall_C)]
        return float(recall.mean()) if len(recall) else float("nan")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the marginals alone would give."""
        total = float(self.counts_CC.sum())
        if total == 0:
            return float("nan")
        chance = float(self.counts_CC.sum(axis=0) @ self.counts_CC.sum(axis=1)) / total**2
        return 1.0 if chance == 1.0 else (self.overall_accuracy - chance) / (1.0 - chance)


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _ratios(part_C: NDArray[np.int64], whole_C: NDArray[np.int64]) -> NDArray[np.float64]:
    out_C = np.full(len(whole_C), np.nan)
    np.divide(part_C, whole_C, out=out_C, where=whole_C > 0)
    return out_C
