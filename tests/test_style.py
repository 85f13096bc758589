"""The rules of the house that can be counted: short files and functions, few arguments, nothing left unfinished."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "trigan"
TREES = {
    path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(SOURCE.rglob("*.py"))
}

LINES, FUNCTION_LINES, ARGUMENTS = 400, 60, 8
#: A frozen dataclass declares what it is in fields with names; one that a config builds may have one less.
FIELDS = 14
#: The source as a whole, blank lines and comments included.
ALL_LINES = 43_500

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for file, tree in TREES.items():
        yield from ((file, node) for node in ast.walk(tree) if isinstance(node, Function))


def fields_of(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The fields that a dataclass's constructor takes."""
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return [f for f in fields if f.value is None or "init=False" not in ast.unparse(f.value)]


def test_files_are_short_and_say_what_they_are() -> None:
    for file, tree in TREES.items():
        assert len((SOURCE / file).read_text().splitlines()) <= LINES, file
        assert ast.get_docstring(tree), f"{file} has no docstring"


def test_functions_fit_a_screen_and_take_few_arguments() -> None:
    for file, function in functions():
        where = f"{file}:{function.lineno} {function.name}"
        assert (function.end_lineno or 0) - function.lineno < FUNCTION_LINES, f"{where} is too long"
        given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        taken = [argument.arg for argument in given if argument.arg not in ("self", "cls")]
        assert len(taken) <= ARGUMENTS, f"{where} takes {len(taken)} arguments"


def test_dataclasses_have_few_fields() -> None:
    for file, tree in TREES.items():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            if "dataclass" in decorators:
                most = FIELDS if "frozen=True" in decorators else ARGUMENTS
                assert len(fields_of(node)) <= most, f"{file}: {node.name} has {len(fields_of(node))} fields"


def test_arguments_have_names() -> None:
    """Settings of a data set or regime, which only a config knows, and placeholders of libraries are the exceptions."""
    found = {file for file, function in functions() if function.args.kwarg is not None}
    assert found == {"absent_libraries.py", "api/dataset_handle.py", "execution/late_imports.py"}


def test_public_classes_have_names_of_their_own() -> None:
    homes: dict[str, list[str]] = {}
    for file, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(file)
    assert not {name: files for name, files in homes.items() if len(files) > 1}


def test_only_commands_print() -> None:
    """Progress goes through rich or the logger; standard output belongs to the command line."""
    calls = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        if not file.startswith("commands/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
    assert not [file for file in TREES if drawers & {Path(file).stem, *Path(file).parts}]


def test_nothing_is_left_unfinished() -> None:
    """No marker of work to be done, and no path of one machine."""
    words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "Not" + "ImplementedError", "/wo" + "rk/", "/home" + "/"]
    for folder in ("src", "tests", "conf", "docs", "experiments", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".md", ".toml", ".sh"}:
                text = path.read_text(encoding="utf-8")
                assert not [word for word in words if word in text], path


def test_the_source_stays_small() -> None:
    assert sum(len((SOURCE / file).read_text().splitlines()) for file in TREES) <= ALL_LINES
