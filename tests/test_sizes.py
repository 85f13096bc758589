"""The rules of the house that can be counted: short files and functions, few arguments, a word on top of each file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "trigan"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

LINES, FUNCTION_LINES, ARGUMENTS = 300, 60, 8
#: A frozen dataclass declares what it is in fields with names; one that a config builds may have one less.
FIELDS = 13

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(file: str) -> ast.Module:
    return ast.parse((SOURCE / file).read_text())


def functions(file: str) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree(file)) if isinstance(node, Function))


def decorators(node: ast.ClassDef) -> str:
    return " ".join(ast.unparse(decorator) for decorator in node.decorator_list)


def initial_fields(node: ast.ClassDef) -> list[str]:
    """The fields that the constructor takes."""
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return [ast.unparse(f.target) for f in fields if f.value is None or "init=False" not in ast.unparse(f.value)]


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_short_and_says_what_it_is(file: str) -> None:
    text = (SOURCE / file).read_text()
    assert len(text.splitlines()) <= LINES
    words = ast.get_docstring(ast.parse(text))
    assert words, f"{file} has no docstring"


@pytest.mark.parametrize("file", FILES)
def test_functions_fit_a_screen_and_take_few_arguments(file: str) -> None:
    for function in functions(file):
        where = f"{file}:{function.lineno} {function.name}"
        assert (function.end_lineno or 0) - function.lineno < FUNCTION_LINES, f"{where} is too long"
        given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        taken = [argument.arg for argument in given if argument.arg not in ("self", "cls")]
        assert len(taken) <= ARGUMENTS, f"{where} takes {len(taken)} arguments"


@pytest.mark.parametrize("file", FILES)
def test_dataclasses_have_few_fields(file: str) -> None:
    for node in (node for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef)):
        if "dataclass" in decorators(node):
            most = FIELDS if "frozen=True" in decorators(node) else ARGUMENTS
            assert len(initial_fields(node)) <= most, f"{file}: {node.name} has {len(initial_fields(node))} fields"


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("cli/")])
def test_below_the_command_line_arguments_have_names(file: str) -> None:
    for function in functions(file):
        assert function.args.kwarg is None, (
            f"{file}:{function.lineno} {function.name} takes **{function.args.kwarg.arg}"
        )


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
    assert not [file for file in FILES if drawers & {Path(file).stem, *Path(file).parts}]


@pytest.mark.parametrize("folder", ["src", "tests", "conf", "docs", "experiments", "benchmarks"])
def test_nothing_is_left_unfinished(folder: str) -> None:
    """No marker of work to be done, and no path of one machine."""
    words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "Not" + "ImplementedError", "/wo" + "rk/", "/home" + "/"]
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in {".py", ".yaml", ".md", ".toml", ".sh"}:
            text = path.read_text()
            assert not [word for word in words if word in text], path
