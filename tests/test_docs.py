"""What the documentation refers to is there."""

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from pipelines.cli.main import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.md")])
SOURCES = "wsi|distill|pipelines|cluster|benchmarks"
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]*)(#[^)\s]*)?\)")
FILE = re.compile(rf"(?<![\w./-])((?:{SOURCES}|docs|tests)/[\w./*-]*[\w*])")
MODULE = re.compile(rf"(?<![\w./-])((?:{SOURCES})(?:\.(?!md\b)[a-z_]\w*)+)")
COMMAND = re.compile(r"\braypath ([a-z][^`#\n]*)")

COMMANDS = get_command(cli)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {"#" + heading.strip().replace(" ", "-") for heading in kept}


def linked(page: Path) -> set[Path]:
    """Pages that `page` has links to."""
    paths = {(page.parent / path).resolve() for path, _ in LINK.findall(page.read_text()) if path}
    return paths & set(PAGES)


def options(words: list[str]) -> set[str]:
    """All flags of the command that `words` begin with; none of what is no command."""
    command = COMMANDS
    for word in words:
        if not isinstance(command, TyperGroup):
            break
        if word not in command.commands:
            return set()
        command = command.commands[word]
    return {"--help"}.union(*(each.opts + each.secondary_opts for each in command.params))


@each_page
def test_links_lead_to_something(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} is not there"
        assert not anchor or anchor in anchors(target), f"{path}{anchor}: no such heading"


@each_page
def test_files_that_are_named_are_there(page: Path) -> None:
    for path in FILE.findall(page.read_text()):
        assert any(ROOT.glob(path)), f"{path} is not there"


@each_page
def test_modules_that_are_named_are_there(page: Path) -> None:
    for name in MODULE.findall(page.read_text()):
        path = ROOT.joinpath(*name.split("."))
        module = path.with_suffix(".py").exists() or (path / "__init__.py").exists()
        member = path.parent.with_suffix(".py")
        assert module or (member.exists() and path.name in member.read_text()), name


@each_page
def test_modules_that_are_run_can_be_run(page: Path) -> None:
    for name in re.findall(r"python -m ([\w.]+)", page.read_text()):
        path = ROOT.joinpath(*name.split("."))
        module = path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        assert module or not name.startswith(tuple(SOURCES.split("|"))), name


@each_page
def test_flags_that_are_named_are_flags_of_their_command(page: Path) -> None:
    for said in COMMAND.findall(page.read_text().replace("\\\n", " ")):
        flags = re.findall(r"(?<!\S)(--?[a-z][\w-]*)", said)
        assert set(flags) <= options(said.split()), f"raypath {said}"


def test_every_page_is_reached_from_the_readme() -> None:
    found, new = set[Path](), {ROOT / "README.md"}
    while new:
        found |= new
        new = {other for page in new for other in linked(page)} - found
    assert found == set(PAGES)
