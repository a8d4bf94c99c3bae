"""Bad inputs, third table: options, run files, curriculum files and manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robustness.conftest import (
    Make,
    Row,
    Words,
    cube,
    given,
    labels,
    saved,
    train,
    with_options,
)


def setting(text: str) -> Make:
    """A run with one --set."""
    return with_options("--set", text)


def file_of(name: str, content: str | bytes, option: str) -> Make:
    """A run with a file of this content, or with its folder where there is none."""

    def make(folder: Path) -> Words:
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content, encoding="utf-8")
        return with_options(option, folder / name)(folder)

    return make


def run_file(content: str | bytes) -> Make:
    return file_of("run.toml", content, "--config")


def stages(content: str) -> Make:
    return file_of("mine.toml", content, "--curriculum")


def manifest(content: str, name: str = "scenes.csv") -> Make:
    """A run on a manifest in a folder with three small scenes a, b and c."""

    def make(folder: Path) -> Words:
        for scene in "abc":
            saved(folder / f"{scene}.npy", cube())
        saved(folder / "gt.npy", labels())
        (folder / name).write_text(content, encoding="utf-8")
        return train(folder / name)

    return make


STAGE = "[[stage]]\npatch_size = 3\n"
OPTIONS = [
    Row(
        "no number where one belongs",
        with_options("--epochs", "ten"),
        r"value for '--epochs'",
    ),
    Row("half a number", with_options("--epochs", "1.5"), r"'--epochs'"),
    Row("no epochs", with_options("--epochs", 0), r"epochs=0: expected at least 1"),
    Row("epochs before zero", with_options("--epochs", -3), r"epochs=-3: expected at least 1"),
    Row("a share above one", with_options("--beta", 1.5), r"beta=1\.5: expected a share"),
    Row("no share", with_options("--beta", 0), r"beta=0: expected a share"),
    Row("a share that is no number", with_options("--beta", "nan"), r"beta=nan: expected a share"),
    Row("a negative rate", with_options("--lr", -0.1), r"learning_rate=-0\.1: expected a positive"),
    Row("a rate that is no number", with_options("--lr", "nan"), r"learning_rate=nan"),
    Row("an infinite rate", with_options("--lr", "inf"), r"learning_rate=inf"),
    Row("a batch of one", with_options("--batch-size", 1), r"batch_size=1: expected at least 2"),
    Row("an even patch", with_options("--patch-size", 4), r"patch_size=4: expected an odd number"),
    Row("a negative patch", with_options("--patch-size", -3), r"patch_size=-3: expected an odd"),
    Row("a patch wider than the scene", with_options("--patch-size", 99), r"patch_size=99 exceeds"),
    Row("a negative seed", with_options("--seed", -1), r"seed=-1: expected 0 or more"),
    Row("negative workers", with_options("--workers", -1), r"cluster\.workers=-1"),
    Row("a share of all pixels", with_options("--train-fraction", 1), r"train_fraction=1"),
    Row("pixels that are no number", with_options("--train-fraction", "nan"), r"fraction=nan"),
    Row("an unknown device", with_options("--device", "tpu"), r"device='tpu'"),
    Row("an unknown split", with_options("--split", "randm"), r"did you mean 'random'"),
    Row("a split by scene of one", with_options("--split", "scenes"), r"needs several scenes"),
    Row("an unknown backbone", with_options("--backbone", "cnn4d"), r"unknown backbone 'cnn4d'"),
    Row("a backbone of nowhere", with_options("--backbone", "no.where:f"), r"no\.where"),
    Row("a backbone that is none", with_options("--backbone", "os:getcwd"), r"os:getcwd"),
    Row("an unknown curriculum", with_options("--curriculum", "papr"), r"did you mean 'paper'"),
    Row("no curriculum file", with_options("--curriculum", "no.toml"), r"cannot read curriculum"),
    Row("a setting without a value", setting("split.guard"), r"expected key=value"),
    Row("an unknown setting", setting("split.gard=1"), r"did you mean 'split\.guard'"),
    Row("an unknown group", setting("spilt.guard=1"), r"unknown setting 'spilt'"),
    Row("a setting inside a value", setting("seed.more=1"), r"seed.*"),
    Row("a list for a number", setting("seed=[1]"), r"seed=\[1\]"),
    Row("a number for a list", setting("scene.ignore_classes=1"), r"scene\.ignore_classes=1"),
    Row("a class that is not there", setting("scene.ignore_classes=[9]"), r"have classes \[1, 2\]"),
    Row("no class left", setting("scene.ignore_classes=[1,2]"), r"no class is left"),
    Row("one class left", setting("scene.ignore_classes=[1]"), r"the labels hold 1 class"),
    Row("nodata that is text", setting("scene.nodata=none"), r"scene\.nodata='none'"),
    Row("an unknown policy", setting("scene.bad_bands=keep"), r"bad_bands='keep'"),
    Row("a negative guard", setting("split.guard=-1"), r"split\.guard=-1"),
    Row("no tile", setting("tiles.side=0"), r"tiles\.side=0"),
    Row(
        "a tile as wide as a continent",
        setting("tiles.side=1000000000"),
        r"expected 4096",
    ),
    Row("negative threads", setting("cluster.threads=-1"), r"cluster\.threads=-1"),
    Row("a negative width", setting("backbone_options.width=-8"), r"width"),
    Row("an unknown option of a backbone", setting("backbone_options.wide=8"), r"wide"),
    Row("a loss of nowhere", setting("train.loss=no.where:f"), r"no\.where"),
    Row("patches of nowhere", setting("patches=nowhere"), r"nowhere"),
]
FILES = [
    Row("a run file that is none", run_file("seed = "), r"cannot read run file .*run\.toml"),
    Row("a run file in bytes", run_file(b"\xff\xfe\x00"), r"cannot read run file"),
    Row("a run file with a typo", run_file("sed = 1"), r"unknown setting 'sed'; did you mean 'see"),
    Row("a run file of wrong types", run_file("seed = 'one'"), r"seed='one'"),
    Row("a group that is a value", run_file("split = 3"), r"split=3: expected a group"),
    Row("a group that is a list", run_file("[[split]]\nguard = 3"), r"split=.*expected a group"),
    Row("a date for a number", run_file("seed = 2024-01-01"), r"seed=.*2024"),
    Row("a run file that is a folder", with_options("--config", "."), r"cannot read run file"),
    Row("no run file", with_options("--config", "no.toml"), r"cannot read run file no\.toml"),
    Row("a curriculum without stages", stages(""), r"mine\.toml.*stage"),
    Row("a curriculum that is no TOML", stages("[[stage]"), r"cannot read curriculum"),
    Row("a stage without a patch", stages("[[stage]]\ncomponents = 3"), r"is not a curriculum"),
    Row("a stage with a typo", stages(STAGE + "comps = 3"), r"is not a curriculum .*comps"),
    Row("a stage of text", stages("[[stage]]\npatch_size = 'big'"), r"mine\.toml"),
    Row("a stage of no components", stages(STAGE + "components = 0"), r"mine\.toml: .*components"),
    Row("a stage of too many", stages(STAGE + "components = 99"), r"99 components exceed"),
    Row("a stage of half a share", stages(STAGE + "share = -0.5"), r"mine\.toml: .*share"),
    Row("a stage of no number", stages(STAGE + "share = nan"), r"mine\.toml: .*share"),
    Row("stages that are a value", stages("stage = 3"), r"is not a curriculum"),
    Row("an unknown axis", stages("axis = 'time'\n" + STAGE), r"mine\.toml: .*axis"),
]
MANIFESTS = [
    Row("an empty manifest", manifest(""), r"lists no scene"),
    Row("no column image", manifest("labels\ngt.npy\n"), r"expected a column image"),
    Row("an unknown column", manifest("image,label\na.npy,1\n"), r"did you mean 'labels'"),
    Row("a cell too many", manifest("image,labels\na.npy,1,2\n"), r"line 2: expected 2 cells"),
    Row("a scene that is not there", manifest("image\nx.npy\n"), r"line 2: no such scene file"),
    Row("a part that is none", manifest("image,part\na.npy,dev\n"), r"unknown part 'dev'"),
    Row("a scene listed twice", manifest("image,labels\na.npy,1\na.npy,2\n"), r"already listed"),
    Row(
        "classes of too few scenes",
        manifest("image,labels\na.npy,1\nb.npy,2\nc.npy,2\n"),
        r"every class needs 3 scenes to draw from.*class 1 has 1, class 2 has 2",
    ),
    Row(
        "no scene to train on",
        manifest("image,labels,part\na.npy,gt.npy,test\nb.npy,gt.npy,test\n"),
        r"no training scene holds classes \[1, 2\]",
    ),
    Row(
        "no scene to test on",
        manifest("image,labels,part\na.npy,gt.npy,train\nb.npy,gt.npy,train\n"),
        r"leaves no test pixel; give a scene part=test",
    ),
    Row("TOML that is none", manifest("[[scene]\n", "s.toml"), r"s\.toml is not TOML"),
    Row("TOML of wrong types", manifest("[[scene]]\nimage = 3\n", "s.toml"), r"expected text"),
    Row("TOML with a typo", manifest("[[scenes]]\nimage = 'a'\n", "s.toml"), r"unknown key 'scen"),
    Row(
        "a manifest with labels beside it",
        lambda folder: (*manifest("image\na.npy\n")(folder), "--labels", "gt.npy"),
        r"leave --labels out",
    ),
]


@pytest.mark.parametrize("row", [*OPTIONS, *FILES, *MANIFESTS], ids=given)
def test_a_bad_setting_is_one_line(check: Callable[[Row], None], row: Row) -> None:
    check(row)
