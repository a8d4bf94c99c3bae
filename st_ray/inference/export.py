"""`st-ray export`: a trained model as one ONNX file, checked against torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_ray.lists import screen
from st_ray.options import option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from st_ray.learn.card import ModelCard


def export(
    model: Annotated[
        str,
        typer.Argument(help="A run's folder, its model/, or a URI of one.", show_default=False),
    ],
    out: Annotated[str, typer.Option(help="The file, a path or URI.")] = "model.onnx",
    scene: Annotated[
        str | None,
        option("A scene on whose patches the file is checked, too.", "only random patches"),
    ] = None,
    backbone: Annotated[
        str | None,
        option("package.module:function of a model that is none of st_ray's, to allow it.", "none"),
    ] = None,
) -> None:
    """Write a model as ONNX, from raw bands to logits. It is checked against torch."""
    from st_ray.errors import SpecError, writing
    from st_ray.learn.bundle import load_bundle
    from st_ray.learn.folded import Folded
    from st_ray.learn.onnx_file import build_onnx, compare, likely_spectra
    from st_ray.spectral.files import replacing
    from st_ray.storage import filling

    if not out.endswith(".onnx"):
        raise SpecError(f"--out {out}: expected a name that ends in .onnx")
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    network, basis, card = load_bundle(model, backbone)
    lines = []
    with filling(out) as path:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written ends here
        spectra = {"random": likely_spectra(basis, card.components, card.patch_size)}
        if scene is not None:
            spectra[scene] = scene_spectra(scene, card)
        folded = Folded(basis, network, card.components)
        data = build_onnx(folded, card)
        for name, patches in spectra.items():
            difference, largest = compare(data, folded, patches)
            lines.append(
                f"{len(patches)} patches, {name}: logits differ from torch's by {difference:.2g} "
                f"at most, the largest is {largest:.3g}"
            )
        with writing(path), replacing(path) as file:
            file.write(data)
    side = card.patch_size
    lines.append(
        f"{out}: spectra (N, {len(card.bands)}, {side}, {side}) -> logits (N, {len(card.classes)})"
    )
    for line in lines:
        screen().print(line, highlight=False, soft_wrap=True)


_SEEN = 8  # rows and columns of a scene from which patches are taken


def scene_spectra(scene: str, card: ModelCard) -> NDArray[np.float32]:
    """Patches (N, B, S, S) of a scene, on a grid over all of it, its borders mirrored.

    Raises:
        SceneError: It cannot be opened, or its bands are not the model's.
    """
    import numpy as np

    from st_ray.inference.match import match_scene
    from st_ray.spectral.scene import SceneSpec, open_cube
    from st_ray.spectral.tiles import Tile, read_padded

    cube, _ = match_scene(open_cube(SceneSpec(name=scene))[0], card, resample=False)
    places = (np.linspace(0, side - 1, min(side, _SEEN), dtype=int) for side in cube.shape[:2])
    rows, cols = (place.tolist() for place in places)
    patches = [
        read_padded(
            cube, Tile(index=0, row=row, col=col, height=1, width=1), 1, card.patch_size // 2
        )
        for row in rows
        for col in cols
    ]
    return np.ascontiguousarray(np.moveaxis(np.stack(patches), 3, 1))
