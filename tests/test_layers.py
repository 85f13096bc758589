"""The tables of docs/architecture.md hold: which room imports which, and which library stays where."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "trigan"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def room(file: str) -> str:
    """The first part of a file's place: ``datasets/sources/hub.py`` is in ``data``, ``rng.py`` in ``rng``."""
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
    for rooms, _, cell in table("package"):
        if cell.startswith("all above"):
            may = set(allowed) - set(names(cell.partition(" but ")[2]))
        else:
            may = set() if cell == "nothing" else set(names(cell))
        for one in names(rooms):
            allowed[one] = may
    return allowed


ALLOWED = allowed_rooms()


def imports(file: str) -> Iterator[str]:
    """Dotted names of what a file imports, wherever in it, for types alone or not; a file of ours by its own name."""
    for node in ast.walk(ast.parse((SOURCE / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if file_of(inner) else node.module


def file_of(module: str) -> str | None:
    """The file of a module of trigan's."""
    inner = module.removeprefix("trigan").strip(".").replace(".", "/")
    places = [f"{inner}.py", f"{inner}/__init__.py" if inner else "__init__.py"]
    return next((place for place in places if module.split(".")[0] == "trigan" and place in FILES), None)


def libraries(file: str) -> set[str]:
    tops = {name.partition(".")[0] for name in imports(file)}
    return tops - set(sys.stdlib_module_names) - {"trigan"}


def files_imported(file: str) -> set[str]:
    return {found for name in imports(file) if (found := file_of(name)) and found != file}


def rooms_imported(file: str) -> set[str]:
    return {room(other) for other in files_imported(file)} - {room(file), "__init__", "version"}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_stands_on_the_page_and_the_page_has_no_other() -> None:
    assert set(ALLOWED) == ROOMS


def test_the_import_table_runs_one_way() -> None:
    assert not circle({one: may & ROOMS - {one} for one, may in ALLOWED.items()})


def test_no_two_files_import_each_other() -> None:
    assert not circle({file: files_imported(file) for file in FILES})


def test_files_import_only_rooms_that_the_page_allows() -> None:
    extra = {
        file: found
        for file in FILES
        if Path(file).name not in ("__main__.py",)
        and (found := rooms_imported(file) - ALLOWED.get(room(file), ROOMS if file == "__init__.py" else set()))
    }
    assert not extra, "docs/architecture.md does not allow these"
    assert rooms_imported("__main__.py") == {"commands"}


def test_files_import_only_libraries_that_their_room_may() -> None:
    homes = [(set(names(cells[0])), names(cells[1])) for cells in table("library")]
    wrong = []
    for file in FILES:
        found, may = libraries(file), ALLOWED.get(room(file), {"free"})
        own = {library for held, places in homes if file in places for library in held}
        if ("torch" in may or not may) and not found - own <= may & {"torch"}:
            wrong.append((file, found))
        for held, places in homes:
            if held & found and not {file, room(file)} & set(places):
                wrong.append((file, held & found))
    assert not wrong


def test_the_page_names_files_and_rooms_that_exist() -> None:
    places = {place for _, cell in table("library") for place in names(cell)}
    assert places <= ROOMS | set(FILES)


def test_folders_and_names_stay_small_and_clear() -> None:
    """At most 15 files in a folder; a file name means one thing, but for a command and what it commands."""
    folders = Counter(Path(file).parent.as_posix() for file in FILES)
    assert not {folder: count for folder, count in folders.items() if count > 15}
    stems = Counter(Path(file).stem for file in FILES if not file.startswith("commands/"))
    assert not {stem: count for stem, count in stems.items() if count > 1 and not stem.startswith("__")}


@pytest.mark.parametrize("rooms", [["records", "tables", "plots", "reports"]])
def test_records_are_read_without_torch(rooms: list[str]) -> None:
    """Not even through a library of theirs."""
    modules = [f"trigan.{Path(file).with_suffix('').as_posix().replace('/', '.')}" for file in FILES]
    wanted = [name for name in modules if name.split(".")[1] in rooms]
    code = f"import sys, {', '.join(wanted)}; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    assert said.stdout == "False\n"
