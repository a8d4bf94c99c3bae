"""The small searches of a benchmark: pure functions of a score on validation pixels.

Every arm's learning rate is chosen by the same search, and the length of the baseline is the
shortest that reaches its own plateau: one that trains longer than it needs, or at a worse rate,
would make every speedup a fake.
"""

from __future__ import annotations

from collections.abc import Callable

# Validation OA of a training at a learning rate.
ScoreRate = Callable[[float], float]
# Validation OA of a training of so many epochs at a learning rate.
ScoreLength = Callable[[int, float], float]

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
# The chain of lengths, each three times the one before; the last is T0 if none was enough.
FIRST_LENGTH, RATIO, LAST_LENGTH = 10, 3, 810
# "Within 0.3 points" of a run three times as long.
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


def shortest_length(score: ScoreLength, start: float = 1e-3) -> tuple[int, float]:
    """T0 and the learning rate of the baseline.

    The rate is chosen at the first length. Lengths are tripled until the next one is no more
    than `PLATEAU` better; then half-way lengths (by ratio) are tried downwards, against the best
    of all runs at least three times as long; at the length found the rate is chosen once more.

    Returns:
        Epochs and learning rate.
    """
    rate = choose_rate(lambda r: score(FIRST_LENGTH, r), start)
    known = {FIRST_LENGTH: score(FIRST_LENGTH, rate)}
    length = FIRST_LENGTH
    while length < LAST_LENGTH:
        known[length * RATIO] = score(length * RATIO, rate)
        if known[length] >= known[length * RATIO] - PLATEAU:
            break
        length *= RATIO
    if length > FIRST_LENGTH:
        middle = round(length / RATIO**0.5)
        known[middle] = score(middle, rate)
        far = min(RATIO * middle, max(known))
        longer = max(value for other, value in known.items() if other >= far)
        if known[middle] >= longer - PLATEAU:
            length = middle
    return length, choose_rate(lambda r: score(length, r), rate)
