"""The benchmark scenes st_ray knows by name: addresses, checksums, keys and class names.

Files come from the collection of the Grupo de Inteligencia Computacional (GIC) of the University
of the Basque Country, https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes,
and class names are those of its tables, misspellings included. Indian Pines needs no download:
PyPI's ``tensorly`` carries the same arrays.

The collection publishes no checksums. Those of Salinas-A were computed here from copies of the
files. Those of Salinas and Pavia University are stated alike by two or more independent public
projects, and KSC's cube by two. The rest (KSC's ground truth, Botswana, Pavia Centre) are stated
by one of them, whose sums of Indian Pines agree with those computed here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_UPLOADS = "https://www.ehu.eus/ccwintco/uploads"
_INDIAN_PINES_GT = "65c4687a8ab04f6da4789799bc3bc4f6e88bccac3ed6a2e6ae367e5e6b9e429c"
_SALINAS = (
    "Brocoli_green_weeds_1,Brocoli_green_weeds_2,Fallow,Fallow_rough_plow,Fallow_smooth,Stubble,"
    "Celery,Grapes_untrained,Soil_vinyard_develop,Corn_senesced_green_weeds,Lettuce_romaine_4wk,"
    "Lettuce_romaine_5wk,Lettuce_romaine_6wk,Lettuce_romaine_7wk,Vinyard_untrained,"
    "Vinyard_vertical_trellis"
)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the collection.

    Attributes:
        name: File name.
        sha256: Checksum of its bytes, in hexadecimal.
    """

    name: str
    sha256: str

    @property
    def address(self) -> str:
        """Where the collection serves it: MediaWiki files uploads under the name's MD5."""
        digest = hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()
        return f"{_UPLOADS}/{digest[0]}/{digest[:2]}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredScene:
    """A benchmark scene.

    Attributes:
        title: Name in words.
        shape: (H, W, B) of the cube.
        cube_key: Variable of the cube in its .mat file; None for a .npy file.
        labels_key: Variable of the ground truth in its .mat file; None for a .npy file.
        class_names: Class id to name.
        false_colour: Bands shown as red, green and blue, 0-based.
        files: Cube and ground truth to download; None where an installed package carries them.
    """

    title: str
    shape: tuple[int, int, int]
    cube_key: str | None
    labels_key: str | None
    class_names: dict[int, str]
    false_colour: tuple[int, int, int]
    files: tuple[RemoteFile, RemoteFile] | None

    @property
    def labels_sha256(self) -> str:
        """Checksum of the collection's ground-truth file."""
        return self.files[1].sha256 if self.files else _INDIAN_PINES_GT


def _named(names: str, ids: tuple[int, ...] | None = None) -> dict[int, str]:
    listed = names.split(",")
    return {index: listed[index - 1] for index in ids or range(1, len(listed) + 1)}


SCENES: dict[str, RegisteredScene] = {
    "indian_pines": RegisteredScene(
        title="Indian Pines (AVIRIS, 1992)",
        shape=(145, 145, 200),
        cube_key=None,
        labels_key=None,
        class_names=_named(
            "Alfalfa,Corn-notill,Corn-mintill,Corn,Grass-pasture,Grass-trees,Grass-pasture-mowed,"
            "Hay-windrowed,Oats,Soybean-notill,Soybean-mintill,Soybean-clean,Wheat,Woods,"
            "Buildings-Grass-Trees-Drives,Stone-Steel-Towers"
        ),
        false_colour=(43, 21, 11),
        files=None,
    ),
    "salinas": RegisteredScene(
        title="Salinas (AVIRIS)",
        shape=(512, 217, 204),
        cube_key="salinas_corrected",
        labels_key="salinas_gt",
        class_names=_named(_SALINAS),
        false_colour=(43, 21, 11),
        files=(
            RemoteFile(
                "Salinas_corrected.mat",
                "5ec1c0d22f56d18ecd336f8e35735863c0f160682e04e0c18ef3f89a3334d87d",
            ),
            RemoteFile(
                "Salinas_gt.mat",
                "ecfab4d31ef5553f097943235d8ea502038eb4a2067b2ad10b33e37c949955e2",
            ),
        ),
    ),
    "salinas_a": RegisteredScene(
        title="Salinas-A (AVIRIS)",
        shape=(83, 86, 204),
        cube_key="salinasA_corrected",
        labels_key="salinasA_gt",
        class_names=_named(_SALINAS, (1, 10, 11, 12, 13, 14)),
        false_colour=(43, 21, 11),
        files=(
            RemoteFile(
                "SalinasA_corrected.mat",
                "d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
            ),
            RemoteFile(
                "SalinasA_gt.mat",
                "17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
            ),
        ),
    ),
    "pavia_university": RegisteredScene(
        title="Pavia University (ROSIS)",
        shape=(610, 340, 103),
        cube_key="paviaU",
        labels_key="paviaU_gt",
        class_names=_named(
            "Asphalt,Meadows,Gravel,Trees,Painted metal sheets,Bare Soil,Bitumen,"
            "Self-Blocking Bricks,Shadows"
        ),
        false_colour=(55, 41, 12),
        files=(
            RemoteFile(
                "PaviaU.mat",
                "28447fa87f7a5797845e9a189c0da85e23b1d06a4ba7361e5ff44efbf834d2fb",
            ),
            RemoteFile(
                "PaviaU_gt.mat",
                "23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
            ),
        ),
    ),
    "pavia_centre": RegisteredScene(
        title="Pavia Centre (ROSIS)",
        shape=(1096, 715, 102),
        cube_key="pavia",
        labels_key="pavia_gt",
        class_names=_named(
            "Water,Trees,Asphalt,Self-Blocking Bricks,Bitumen,Tiles,Shadows,Meadows,Bare Soil"
        ),
        false_colour=(55, 41, 12),
        files=(
            RemoteFile(
                "Pavia.mat",
                "b60341da323fd271cd97dd6d7a69514d385ccd7fdfc5a60c4ff5994b047f152e",
            ),
            RemoteFile(
                "Pavia_gt.mat",
                "7eb54ab81b404dd3ae572e6d0ec211595029e5a847bec2cfb8f9e72d07066b69",
            ),
        ),
    ),
    "ksc": RegisteredScene(
        title="Kennedy Space Center (AVIRIS, 1996)",
        shape=(512, 614, 176),
        cube_key="KSC",
        labels_key="KSC_gt",
        class_names=_named(
            "Scrub,Willow swamp,Cabbage palm hammock,Cabbage palm/oak hammock,Slash pine,"
            "Oak/broadleaf hammock,Hardwood swamp,Graminoid marsh,Spartina marsh,Cattail marsh,"
            "Salt marsh,Mud flats,Water"
        ),
        false_colour=(43, 21, 11),
        files=(
            RemoteFile(
                "KSC.mat",
                "b1ad011cfdb65c853e4f9f6108ca4774467d87f90a5c23b74ff3a2984a3b4786",
            ),
            RemoteFile(
                "KSC_gt.mat",
                "a1d6ab9293691006bd4d9742d1a1e1c141b1aaa5fbc5fa128b33c1d09038510b",
            ),
        ),
    ),
    "botswana": RegisteredScene(
        title="Botswana, Okavango Delta (Hyperion, 2001)",
        shape=(1476, 256, 145),
        cube_key="Botswana",
        labels_key="Botswana_gt",
        class_names=_named(
            "Water,Hippo grass,Floodplain grasses 1,Floodplain grasses 2,Reeds,Riparian,Firescar,"
            "Island interior,Acacia woodlands,Acacia shrublands,Acacia grasslands,Short mopane,"
            "Mixed mopane,Exposed soils"
        ),
        false_colour=(75, 33, 15),
        files=(
            RemoteFile(
                "Botswana.mat",
                "f1603903c844cdc2980550b0180688e8e1a72d4292595d1120e1dec2a80a91c7",
            ),
            RemoteFile(
                "Botswana_gt.mat",
                "668394905e10e629c16584bfd02b0f533b96d6ba18a63274a94ff3a77126a887",
            ),
        ),
    ),
}
