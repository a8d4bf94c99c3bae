"""The small searches of a benchmark: pure functions of a score on validation pixels.

Every arm's learning rate is chosen by the same search, and the length of the baseline is the
shortest that reaches its own plateau: one that trains longer than it needs, or at a worse rate,
would make every speedup a fake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from st_ray.errors import TrainingError

# Validation OA of a training at a learning rate.
ScoreRate = Callable[[float], float]
# Validation OA of a training of so many epochs at a learning rate.
ScoreLength = Callable[[int, float], float]

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
# By what the search for a length steps up; down it steps by the root.
RATIO = 3
# Epochs; shorter ones are not tried.
LEAST_LENGTH = 5
# "Within 0.3 points" of a run at least three times as long.
PLATEAU = 0.003


def choose_rate(score: ScoreRate, start: float = 1e-3) -> float:
    """The learning rate of the best score: from `start` uphill along `RATES`.

    Three trials as a rule: the start, its right neighbour, and the next one on the better side;
    on for as long as it gets better. A tie goes to the rate that was tried first.
    """
    known: dict[int, float] = {}

    def value(index: int) -> float:
        if not 0 <= index < len(RATES):
            return float("-inf")
        if index not in known:
            known[index] = score(RATES[index])
        return known[index]

    best = RATES.index(start)
    step = 1 if value(best + 1) > value(best) else -1
    while value(best + step) > value(best):
        best += step
    return RATES[best]


@dataclass(frozen=True, slots=True)
class Found:
    """What the search for the baseline's length ends with.

    Attributes:
        epochs: T0.
        rate: Its learning rate.
        capped: Whether none three times as long was tried, which would have been too long.
    """

    epochs: int
    rate: float
    capped: bool


def shortest_length(score: ScoreLength, first: int = 30, longest: int = 270) -> Found:
    """T0 and the learning rate of the baseline.

    From the first on, lengths are tripled until one is within `PLATEAU` of the next at the same
    rate, or the next would exceed `longest`; then shorter ones (by the root of three) are tried,
    for as long as they are within `PLATEAU` of the best run at least three times as long, or of
    the longest. Every length is judged at its own best rate: at one that suits another length it
    would seem to need more epochs than it does.

    Raises:
        TrainingError: Every training failed.
    """
    known: dict[int, float] = {}
    rates: dict[int, float] = {}

    def value(length: int, start: float) -> float:
        rates[length] = choose_rate(lambda rate: score(length, rate), start)
        known[length] = score(length, rates[length])
        return known[length]

    def improves(length: int) -> bool:
        far = RATIO * length
        known[far] = score(far, rates[length])
        return known[length] < known[far] - PLATEAU

    def plateau(length: int) -> float:
        far = min(RATIO * length, max(known))
        return max(other for at, other in known.items() if at >= far)

    length = first
    if value(length, RATES[1]) == float("-inf"):
        raise TrainingError("the baseline failed at every learning rate; see the failed cells")
    while RATIO * length <= longest and improves(length):
        value(RATIO * length, rates[length])
        length *= RATIO
    shorter = round(length / RATIO**0.5)
    while shorter >= LEAST_LENGTH and shorter not in known:  # a known one was too short
        higher = RATES[min(RATES.index(rates[length]) + 1, len(RATES) - 1)]
        if value(shorter, higher) < plateau(shorter) - PLATEAU:
            break
        length, shorter = shorter, round(shorter / RATIO**0.5)
    return Found(length, rates[length], RATIO * length > max(known))
