"""The tables of docs/architecture.md hold: which room imports which, and which library stays where."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "trigan"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def room(file: str) -> str:
    """The first part of a file's place: ``data/sources/hub.py`` is in ``data``, ``rng.py`` in ``rng``."""
    return Path(file).parts[0].removesuffix(".py")


ROOMS = {room(file) for file in FILES} - {"__init__", "__main__"}


def table(heading: str) -> list[list[str]]:
    """The rows of the page's table whose first heading is ``heading``, cell by cell."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert found, f"docs/architecture.md has no table that begins with '{heading}'"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def names(cell: str) -> list[str]:
    """The names in backticks, or the comma-separated words."""
    return re.findall(r"`([^`]+)`", cell) or [word.strip() for word in cell.split(",")]


def allowed_rooms() -> dict[str, set[str]]:
    """Room -> what its row of the page lets it import (``torch`` among the rooms where that is the only library)."""
    allowed: dict[str, set[str]] = {}
    for rooms, _, cell in table("room"):
        if cell.startswith("all above"):
            may = set(allowed) - set(names(cell.partition(" but ")[2]))
        elif cell == "everything":
            may = {*ROOMS}
        else:
            may = set() if cell == "nothing" else set(names(cell))
        for one in names(rooms):
            allowed[one] = may
    return allowed


ALLOWED = allowed_rooms()


def imports(file: str) -> Iterator[str]:
    """Dotted names of what a file imports, wherever in it, for types alone or not."""
    for node in ast.walk(ast.parse((SOURCE / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module
            ours = node.module == "trigan"
            yield from (f"trigan.{alias.name}" for alias in node.names) if ours else (node.module,)


def libraries(file: str) -> set[str]:
    tops = {name.partition(".")[0] for name in imports(file)}
    return tops - set(sys.stdlib_module_names) - {"trigan"}


def rooms_imported(file: str) -> set[str]:
    parts = (name.split(".") for name in imports(file) if name.startswith("trigan."))
    return {inner[1] for inner in parts if inner[1] in ROOMS} - {room(file)}


def test_every_room_stands_on_the_page_and_the_page_has_no_other() -> None:
    assert set(ALLOWED) == ROOMS


def test_the_import_table_runs_one_way() -> None:
    waiting = {one: may & ROOMS - {one} for one, may in ALLOWED.items()}
    while waiting:
        free = [one for one, may in waiting.items() if not may & waiting.keys()]
        assert free, f"these import each other in a circle: {sorted(waiting)}"
        for one in free:
            del waiting[one]


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_rooms_that_the_page_allows(file: str) -> None:
    if file == "__main__.py":
        assert rooms_imported(file) == {"cli"}
        return
    extra = rooms_imported(file) - ALLOWED.get(room(file), set())
    assert not extra, f"{file} imports {sorted(extra)}; docs/architecture.md doesn't let {room(file)} do so"


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_libraries_that_its_room_may(file: str) -> None:
    found, may = libraries(file), ALLOWED.get(room(file), set())
    own = {library for homes in table("library") if file in names(homes[1]) for library in names(homes[0])}
    if "torch" in may or not may:
        assert found - own <= may & {"torch"}, f"{file} imports {sorted(found)}"
    for homes in table("library"):
        for library in set(names(homes[0])) & found:
            here = (file, room(file))
            assert any(place in here for place in names(homes[1])), (
                f"{file} imports {library}; it belongs to {homes[1]}"
            )


def test_the_page_names_files_and_rooms_that_exist() -> None:
    places = {place for _, cell in table("library") for place in names(cell)}
    assert places <= ROOMS | set(FILES)


def test_results_are_read_without_torch() -> None:
    """Not even through a library of theirs."""
    modules = [f"trigan.{Path(file).with_suffix('').as_posix().replace('/', '.')}" for file in FILES]
    wanted = [name for name in modules if name.startswith("trigan.results.")]
    code = f"import sys, {', '.join(wanted)}; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    assert said.stdout == "False\n"
