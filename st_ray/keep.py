"""Write the patches of a run's labelled pixels, for people who want to keep them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from st_ray.config import RunSpec, anchor
from st_ray.engine import open_engine
from st_ray.events import Fanout
from st_ray.learn.fit import Listen
from st_ray.output import RunFolder
from st_ray.prepare import Run, made_of, measure_scene
from st_ray.recipe import fill_in, settle_recipe
from st_ray.spectral.export import (
    ExportTiles,
    PatchCard,
    clear_patches,
    component_groups,
    patch_codes,
    write_card,
)
from st_ray.spectral.scene import open_scene
from st_ray.storage import make


def keep_patches(
    spec: RunSpec, folder: str, *, listen: Listen | None = None, verbose: bool = False
) -> PatchCard:
    """Measure a scene as a run would, and write its patches instead of training.

    A run with the same scene, split, seed and basis trains on them with `RunSpec.patches`.

    Args:
        spec: Scene, split, basis and curriculum; its largest stage says how large the patches are.
        folder: A path, or any URI that pyarrow knows; patches that are there are removed.
        listen: Called with a dict for every phase.
        verbose: Let Ray talk.

    Returns:
        What was written.

    Raises:
        StRayError: Bad input, in one line.
    """
    spec = fill_in(anchor(replace(spec, patches=None)))
    run, recipe = Run(spec, Fanout(listen)), settle_recipe(spec, None, None, None)
    scene = open_scene(spec.scene, spec.tiles.side)
    engine = open_engine(spec.cluster, verbose=verbose)
    with tempfile.TemporaryDirectory(prefix="st_ray-") as place:
        nowhere = RunFolder(Path(place))
        make(folder)
        run.settle(recipe, engine, scene, nowhere)
        with run.starting(engine):
            known = measure_scene(run, recipe, engine, nowhere, scene)
            plan = known.plan(spec.tiles.side)
            card = PatchCard(
                patch_size=known.curriculum.patch_size,
                groups=component_groups([stage.components for stage in known.stages]),
                made_of=made_of(known, spec),
            )
            scene = known.scene
            codes = patch_codes(known.split.parts, scene.labels, scene.classes)
            work = ExportTiles(plan.alone, card, folder)
            with run.clock("ingest"):
                clear_patches(folder)
                parts = engine.map_tiles(work, plan.tiles, plan.side, codes, heavy=True)
                rows = sum(int(part["rows"].sum()) for part in parts)
    card = replace(card, rows=rows)
    write_card(card, folder)
    return card
