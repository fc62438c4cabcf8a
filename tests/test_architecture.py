"""The house rules that a machine can hold: arrows one way, doors to libraries, sizes, docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lion_ray"
RANKS = {
    "spelling": -1,
    "config": 0, "store": 0, "implicit": 0, "team": 0, "board": 0, "groups": 0, "job": 0, "scratch": 0,
    "augmentation": 0,
    "address": 1, "capacity": 1, "console": 1, "backbones": 1, "data": 1, "memory": 1, "messages": 1, "process": 1,
    "methods": 2, "lottery": 2,
    "protocol": 2, "experiments": 3, "results": 4, "decisions": 4, "solves": 3, "ticket": 3, "optimizer": 3,
    "examples": 3,
    "planning": 5, "request": 4, "training": 4, "notes": 4, "ledger": 5, "cluster": 4, "prediction": 4, "work": 4,
    "decoded": 5, "trying": 5, "schedule": 6, "stages": 7, "progress": 6, "features": 5, "measures": 5,
    "report": 8, "trial": 7, "watching": 7,
    "distributed": 8,
    "turn": 9,
    "sweep": 10,
    "driver": 11,
    "pipeline": 12,
    "cli": 13,
}  # fmt: skip
ONLY_IN = {
    "yaml": {"config"},
    "fsspec": {"store"},
    "timm": {"backbones"},
    "pyarrow": {"data", "report"},
    "safetensors": {"ticket", "ledger", "notes", "backbones"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "ray": {"board", "cluster", "groups", "memory", "distributed", "schedule", "sweep", "turn", "watching", "work"},
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


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_are_short_and_say_what_they_are_for(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 220
    assert ast.get_docstring(ast.parse(file.read_text())), "no module docstring"


def test_public_functions_say_what_they_do() -> None:
    silent = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            is_public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if is_public and not ast.get_docstring(node) and len(ast.unparse(node).splitlines()) > 8:  # type: ignore[arg-type]
                silent.append(f"{file.name}:{node.name}")  # type: ignore[attr-defined]
    assert not silent
