"""The documents: links lead somewhere, commands parse, studies load, and what is made by a program is not stale."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lion_ray import config, methods, pipeline
from lion_ray.cli import commands
from tests.support import study_file_page
from tests.test_architecture import FLOORS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "cluster/README.md"))]
BY_PROGRAMS = {"docs/evidence/main.md", "docs/evidence/rounds.md", "docs/evidence/lottery/lottery.md"}
MADE_BY_RUNS = {".ci/nightly.log"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BASE = {
    "study": "part",
    "storage": "results",
    "backbone": "{name: resnet50}",
    "datasets": "[mnist]",
    "methods": "[lion]",
}
WRAPPERS = ("lion-ray", "lion_ray.pipeline", "lion_ray.cli")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def prose(page: Path) -> str:
    """Without what is quoted."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text()) if language in languages]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w -]", "", LINK.sub("", heading)).strip().lower().replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)}: {target} is no file"
        assert not anchor or anchor in anchors(file), f"{name_of(page)}: {target} is no heading"


@every_page
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for path in re.findall(r"`((?:lion_ray|tests|docs|pipelines|cluster|\.ci)/[\w./-]+)`", page.read_text()):
        assert path in MADE_BY_RUNS or (ROOT / path).exists(), f"{name_of(page)} names {path}"
    for module in re.findall(r"python -m (tests\.[\w.]+)", page.read_text()):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{name_of(page)} names {module}"


@pytest.mark.parametrize("page", [page for page in DOCS if name_of(page) not in BY_PROGRAMS], ids=name_of)
def test_a_page_begins_with_what_it_is_for(page: Path) -> None:
    title, _, first, *_ = page.read_text().splitlines()
    assert title.startswith("# ")
    assert first.startswith("This page is for who"), f"{name_of(page)}: {first}"


def test_the_readme_is_short_and_has_one_table() -> None:
    assert len(README.read_bytes()) <= 9_000
    assert len(re.findall(r"^\|(?: ?:?-+:? ?\|)+$", README.read_text(), re.MULTILINE)) == 1
    assert len((ROOT / "CONTRIBUTING.md").read_bytes()) <= 3_500


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(prose(page))
        if "://" not in target and not target.startswith("#")
    }
    assert not [name_of(page) for page in PAGES if page not in linked | {README}]


def commands_in(page: Path) -> Iterator[list[str]]:
    """The words of each command of ours in a bash block, from `lion-ray` or the module's name on."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            ends = [index for index, word in enumerate(words) if word in ("&&", "|", ";", "&")]
            for first, last in zip([0, *(end + 1 for end in ends)], [*ends, len(words)], strict=True):
                part = words[first:last]
                starts = [at for at, word in enumerate(part) if word.rpartition("/")[2] in WRAPPERS]
                if starts:
                    yield part[starts[0] :]


OURS = [(name_of(page), words) for page in PAGES for words in commands_in(page)]


def test_there_are_commands_to_check() -> None:
    assert len(OURS) > 8


@pytest.mark.parametrize(
    ("page", "words"), OURS, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_every_command_in_a_bash_block_parses(page: str, words: list[str]) -> None:
    program, *arguments = [word for word in words if word not in ("[STUDY_URL", "...]")]
    if program == "lion_ray.pipeline" or arguments[:1] == ["run"]:
        options = pipeline.parser().parse_args(arguments[program != "lion_ray.pipeline" :])
        shipped = ROOT / "pipelines" / Path(options.study).name
        if shipped.exists():
            config.load(shipped, options.set)
        return
    command: click.Command = commands.main
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        assert name in command.commands, f"lion-ray has no command {name}"
        command = command.commands[name]
    assert command.make_context(str(command.name), arguments).command is command


STUDIES = [(name_of(page), body) for page in PAGES for body in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "body"), STUDIES, ids=lambda value: value.splitlines()[0])
def test_every_study_in_a_yaml_block_loads_or_as_a_fragment_is_part_of_one(
    page: str, body: str, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    is_fragment = body.startswith("# fragment\n")
    keys = {line.partition(":")[0] for line in body.splitlines()}
    base = [f"{key}: {value}" for key, value in BASE.items() if is_fragment and key not in keys]
    file.write_text("\n".join([body, *base]))
    study = config.load(file)
    for index, entry in enumerate(study.methods):
        methods.options_of(entry)
        config.sections_of(study, index)


def test_the_readme_shows_the_quickstarts_study(tmp_path: Path) -> None:
    (shown,) = blocks(README, "yaml")
    (tmp_path / "shown.yaml").write_text(shown)
    assert config.load(tmp_path / "shown.yaml") == config.load(ROOT / "pipelines" / "quickstart.yaml")


def test_the_page_of_the_study_file_is_what_the_classes_say() -> None:
    assert study_file_page.PAGE.read_text() == study_file_page.page(), "python -m tests.support.study_file_page"


def test_every_key_of_the_study_file_is_described() -> None:
    assert not [name for name, field in study_file_page.described() if not field.description]


def test_the_picture_of_the_architecture_is_the_one_that_is_tested() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    picture = next(body for body in blocks(ROOT / "docs" / "architecture.md", "") if "ground" in body)
    assert [" . ".join(floor) in line for floor, line in zip(FLOORS, picture.splitlines()[::-1], strict=True)] == [
        True
    ] * len(FLOORS)
    rooms = [f"`{room}/`" if (ROOT / "lion_ray" / room).is_dir() else f"`{room}.py`" for row in FLOORS for room in row]
    assert not [room for room in rooms if f"{room}" not in page]


def test_sections_that_docstrings_cite_are_there() -> None:
    cited = set()
    for file in sorted((ROOT / "lion_ray").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = " ".join((ast.get_docstring(node) or "").split())
                for page, sections in re.findall(r"(docs/\w+\.md)((?:[ ,(and]*\*[^*]+\*)*)", text):
                    cited.add((page, ""))
                    cited |= {(page, section) for section in re.findall(r"\*([^*]+)\*", sections)}
    assert ("docs/method.md", "Model") in cited
    for page, section in cited:
        assert (ROOT / page).exists(), page
        assert not section or section.lower().replace(" ", "-") in {a.lower() for a in anchors(ROOT / page)}, section
