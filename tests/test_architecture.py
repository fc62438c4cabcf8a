"""The house rules that a machine can hold: arrows one way, doors to libraries, sizes, docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lion_ray"
# From the ground up, as docs/architecture.md tells: a room imports rooms of lower floors, and on its own floor those
# that stand before it.
FLOORS = (
    ("implicit", "store", "config"),
    ("backbones", "data"),
    ("methods", "lottery"),
    ("experiments",),
    ("ticket", "training"),
    ("study", "trial"),
    ("schedule", "report"),
    ("job", "console", "sweep"),
    ("pipeline", "cli"),
)
RANKS = {room: rank for rank, room in enumerate(room for floor in FLOORS for room in floor)}
ONLY_IN = {
    "yaml": {"config"},
    "fsspec": {"store"},
    "timm": {"backbones"},
    "pyarrow": {"data", "report"},
    "safetensors": {"ticket", "trial", "backbones"},
    "jinja2": {"report"},
    "ray": {"sweep", "schedule"},
    "click": {"cli"},
    "pickle": {"data", "backbones"},  # a restricted unpickler, and the name of an error
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
            found.append(node.module)
    return found


def test_every_room_has_a_rank() -> None:
    assert {room(file) for file in FILES} - {"__init__"} == set(RANKS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_arrows_run_one_way(file: Path) -> None:
    own = room(file)
    if own == "__init__":
        return
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "lion_ray" and len(parts) > 1 and parts[1] in RANKS and parts[1] != own:
            assert RANKS[parts[1]] < RANKS[own], f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_libraries_come_in_through_one_door(file: Path) -> None:
    for name in imports(file):
        doors = ONLY_IN.get(name.split(".")[0])
        assert doors is None or room(file) in doors, f"{file.name} imports {name}"


def test_the_rules_of_a_schedule_import_ray_only_when_one_of_its_schedulers_is_asked_for() -> None:
    for file in (PACKAGE / "schedule").glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "ray"], f"{file.name} imports ray at its top"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_are_short_and_say_what_they_are_for(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 240  # about 200 by sense; one of 240 is better than two of 120
    assert ast.get_docstring(ast.parse(file.read_text())), "no module docstring"


def test_public_functions_say_what_they_do() -> None:
    silent = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            is_public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if is_public and not ast.get_docstring(node) and len(ast.unparse(node).splitlines()) > 8:  # type: ignore[arg-type]
                silent.append(f"{file.name}:{node.name}")  # type: ignore[attr-defined]
    assert not silent
