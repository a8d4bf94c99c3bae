"""A schedule in whole epochs: what a trial of the search trains.

Shape letters: K components, B patch side, E epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from st_ray.learn.curriculum import Axis, Curriculum, PlannedStage, Stage, share_out

# Seconds of one epoch of (components, patch_size): as measured once, before a search begins.
EpochCost = Callable[[int, int], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """One stage of a schedule.

    Attributes:
        components: K.
        patch_size: B, pixels on a side.
        epochs: E, at least 1.
        batch_size: Global batch.
    """

    components: int
    patch_size: int
    epochs: int
    batch_size: int

    @property
    def sees(self) -> tuple[int, int, int]:
        """All but the epochs."""
        return self.components, self.patch_size, self.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Stages and what goes with them.

    Attributes:
        legs: In order; neither components nor patches shrink.
        axis: What components are; see `Curriculum`.
        learning_rate: Peak.
        whitening: Exponent of the scaling of components.
        clock: Share of the budget that is done before each epoch and after the last, E + 1
            values, which the learning rate follows; None: epochs count alike.
    """

    legs: tuple[Leg, ...]
    axis: Axis = "components"
    learning_rate: float
    whitening: float
    clock: tuple[float, ...] | None = None

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(leg.epochs for leg in self.legs)

    def cost(self, epoch_cost: EpochCost) -> float:
        """Predicted seconds of training."""
        return sum(leg.epochs * epoch_cost(leg.components, leg.patch_size) for leg in self.legs)

    def planned(self) -> tuple[PlannedStage, ...]:
        """The stages of a job."""
        return tuple(PlannedStage(**asdict(leg), cost=0.0) for leg in self.legs)

    def trace(self) -> tuple[tuple[float, ...], ...]:
        """What each epoch is: (K, B, batch, progress before, progress after).

        Two schedules with an equal beginning of their traces train the same up to there.
        """
        marks = self.clock or [epoch / self.epochs for epoch in range(self.epochs + 1)]
        seen = [leg.sees for leg in self.legs for _ in range(leg.epochs)]
        return tuple((*sees, marks[at], marks[at + 1]) for at, sees in enumerate(seen))

    def curriculum(self, name: str, full_epochs: int) -> Curriculum:
        """The file that repeats it with a T0 of `full_epochs`, of which it may take all."""
        return Curriculum(
            name=name,
            stages=tuple(
                Stage(
                    components=leg.components,
                    patch_size=leg.patch_size,
                    share=float(leg.epochs),
                    batch_size=leg.batch_size,
                )
                for leg in self.legs
            ),
            beta=self.epochs / full_epochs,
            axis=self.axis,
            learning_rate=self.learning_rate,
            whitening=self.whitening,
        )

    def table(self) -> dict[str, Any]:
        """Plain values, as in search.json and read back from it."""
        clock = None if self.clock is None else list(self.clock)
        return {**asdict(self), "legs": [asdict(leg) for leg in self.legs], "clock": clock}

    @classmethod
    def of_table(cls, table: dict[str, Any]) -> Schedule:
        """What `table` was made of."""
        legs = tuple(Leg(**leg) for leg in table["legs"])
        clock = table["clock"]
        return cls(**{**table, "legs": legs, "clock": None if clock is None else tuple(clock)})

    def words(self) -> str:
        """Stages as components@patch×epochs, smaller batches than the last too, and the rest."""
        last = self.legs[-1].batch_size
        stages = ", ".join(
            f"{leg.components}@{leg.patch_size}×{leg.epochs}"
            + (f" by {leg.batch_size}" if leg.batch_size != last else "")
            for leg in self.legs
        )
        return f"{stages}; rate {self.learning_rate:.2g}, whitening {self.whitening:g}"


def joined(legs: Sequence[Leg]) -> tuple[Leg, ...]:
    """The same epochs in as few stages as they need; stages without an epoch vanish."""
    made: list[Leg] = []
    for leg in legs:
        if leg.epochs and made and made[-1].sees == leg.sees:
            made[-1] = replace(made[-1], epochs=made[-1].epochs + leg.epochs)
        elif leg.epochs:
            made.append(leg)
    return tuple(made)


def within(
    legs: Sequence[Leg], shares: Sequence[float], budget: float, most: int, epoch_cost: EpochCost
) -> tuple[Leg, ...]:
    """The longest schedule of these stages within a budget, epochs shared out by weight.

    Where not even an epoch of each fits, the most expensive ones, which are the last, are left
    out; the first always gets one.

    Args:
        legs: Stages; their epochs do not matter.
        shares: A positive weight each.
        budget: Predicted seconds.
        most: Epochs at most; stages beyond that number are left out too.
        epoch_cost: See `EpochCost`.
    """
    costs = [epoch_cost(leg.components, leg.patch_size) for leg in legs]
    kept = min(len(legs), most)
    while kept > 1 and sum(costs[:kept]) > budget:
        kept -= 1
    weights = [float(share) for share in shares[:kept]]
    best = [1] * kept
    for total in range(kept, most + 1):
        epochs = share_out(total, weights)
        if sum(e * c for e, c in zip(epochs, costs[:kept], strict=True)) <= budget:
            best = epochs
    return joined([replace(leg, epochs=e) for leg, e in zip(legs[:kept], best, strict=True)])
