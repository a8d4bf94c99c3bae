"""What a module may import: spectral <- learn <- config <- report <- engine <- pipeline <- cli."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import st_ray

ROOT = Path(st_ray.__file__).parent
LAYERS = [
    ("errors",),
    ("storage",),
    ("spectral",),
    ("learn",),
    ("config", "events"),
    ("report", "options"),
    ("compose", "output", "engine"),
    ("cluster", "recipe"),
    ("steps",),
    ("feed", "forecast"),
    ("prepare", "calibration"),
    ("pipeline", "keep", "planning"),
    ("lists",),
    ("inference",),
    ("bench",),
    ("search",),
    ("ahead", "doctor"),
    ("cli",),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(ROOT.rglob("*.py"))
# The one place that reaches up: it looks for Ray only when workers are asked for.
ALLOWED = {("engine", "cluster")}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it, but for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_the_layers_below(path: Path) -> None:
    me = part(path)
    if me == "__init__":
        return
    for name in imports(path):
        root, _, rest = name.partition(".")
        if root == "ray":
            assert me == "cluster", f"{path} imports ray"
        if root == "torch":
            assert RANK[me] >= RANK["learn"], f"{path} imports torch"
        if root == "st_ray" and rest:
            other = rest.split(".")[0]
            legal = other == me or RANK[other] < RANK[me] or (me, other) in ALLOWED
            assert legal, f"{me} imports st_ray.{rest}"


def test_every_module_has_a_layer() -> None:
    assert {part(path) for path in MODULES} - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
