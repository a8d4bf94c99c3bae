"""A small search space, with costs that are a formula."""

from __future__ import annotations

from st_ray.search.space import Space


def epoch_cost(components: int, patch_size: int) -> float:
    return 0.01 * components * patch_size**2 / 25


SPACE = Space(
    components=(10, 20, 40), patch_sizes=(3, 5, 9), rate=1e-3, epochs=40, epoch_cost=epoch_cost
)
