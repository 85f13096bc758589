"""Settings are checked in a fork in which every library is a placeholder: torch takes seconds to import, this does not.

A placeholder answers no question: whatever would decide by one (a truth value, a comparison, an ``isinstance``) raises
`Undecided`, so an error that is found without the libraries is also found with them.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, NoReturn

from trigan import errors
from trigan.errors import TriganError


class Undecided(BaseException):
    """Something depends on a library that is not imported; no ``except Exception`` hides this."""


class _Base:
    """Stands for a base class of a library."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        pass


class _Placeholder:
    """Stands for any object of a library: calls, attributes, items and operators give a placeholder again."""

    #: True while modules are being imported: there a question is answered, as decorators and version checks need it.
    importing = False

    def __getattr__(self, name: str) -> "_Placeholder":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_Base,)

    def __call__(self, *arguments: Any, **named: Any) -> "_Placeholder":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(_answers(())(self))

    __hash__ = object.__hash__


#: The one placeholder.
PLACEHOLDER = _Placeholder()


def _absorbs(self: _Placeholder, *others: Any) -> _Placeholder:
    return self


def _answers(while_importing: Any) -> Callable[..., Any]:
    def answer(self: _Placeholder, *others: Any) -> Any:
        if not _Placeholder.importing:
            raise Undecided
        return while_importing

    return answer


for _name in ["getitem", "or", "ror", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "neg"]:
    setattr(_Placeholder, f"__{_name}__", _absorbs)
for _name in ["bool", "lt", "le", "gt", "ge", "eq", "contains"]:
    setattr(_Placeholder, f"__{_name}__", _answers(True))
for _name in ["ne", "instancecheck", "subclasscheck"]:
    setattr(_Placeholder, f"__{_name}__", _answers(False))
for _name, _value in {"len": 0, "int": 0, "index": 0, "float": 0.0, "str": "", "repr": "", "exit": None}.items():
    setattr(_Placeholder, f"__{_name}__", _answers(_value))


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(PLACEHOLDER, name)


class _Finder(MetaPathFinder, Loader):
    """Finds a placeholder for each installed library that was not imported when the finder was made."""

    def __init__(self) -> None:
        self._real = {"trigan", *sys.stdlib_module_names, *(name.partition(".")[0] for name in sys.modules)}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        root = name.partition(".")[0]
        if root in self._real or (root == name and PathFinder.find_spec(name) is None):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def is_possible() -> bool:
    """Whether the fork saves an import and is safe: torch is not imported, and this is the only thread."""
    return "torch" not in sys.modules and hasattr(os, "fork") and threading.active_count() == 1


def refuse_early(function: str, *arguments: Any) -> None:
    """Call a function, ``module:name``, for the error that it may raise, if that can be done without libraries."""
    if is_possible():
        without_libraries(lambda: resolve_name(function), lambda: bool(resolve_name(function)(*arguments)))


def without_libraries(prepare: Callable[[], object], decide: Callable[[], Any]) -> Any:
    """What ``decide()`` returns (JSON data) in a fork without libraries; None if it cannot be decided so.

    ``prepare()`` runs before it and imports trigan's modules.

    Raises:
        TriganError: the one that ``decide`` raises.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _answer(writer, prepare, decide)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    result, error, text = json.loads(answer) if answer else (None, None, None)
    if error is not None:
        raise getattr(errors, error)(text)
    return result


def _answer(writer: int, prepare: Callable[[], object], decide: Callable[[], Any]) -> NoReturn:
    """In the fork: write the result or the error to the pipe, print nothing, run no exit handler."""
    try:
        with open(os.devnull, "wb") as nothing:
            for number in (1, 2):
                os.dup2(nothing.fileno(), number)
        sys.meta_path.insert(0, _Finder())
        with suppress(Exception):
            _Placeholder.importing = True
            prepare()
            _Placeholder.importing = False
            try:
                answer = [decide(), None, None]
            except TriganError as error:
                if not isinstance(error.__cause__, TriganError | None) or not hasattr(errors, type(error).__name__):
                    raise  # a library's error put into words, here perhaps one of a placeholder
                answer = [None, type(error).__name__, str(error)]
            os.write(writer, json.dumps(answer).encode())
    finally:
        os._exit(0)
