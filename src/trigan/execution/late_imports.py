"""Modules that the processes of the command line import late, or never: torch's compiler and most of torchmetrics.

torch imports its compiler with the first optimizer, and Lightning imports both, for names that no run needs: half of
the time to a run's first step. Here such a module is executed when a name is asked of it that is not among those in
`_KNOWN`, which have the same meaning without it; then it is the whole module, in the same object.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class _LateModule(ModuleType):
    """A module that was found and not executed."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # `from` asks this; packages have it
            raise AttributeError(name)
        known = _KNOWN[self.__name__]
        return known[name]() if name in known else getattr(_whole(self.__name__), name)


class _LateLoader(Loader):
    """Leaves a module unexecuted; ``loader`` is the one that will execute it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _LateModule


class _Imported(Loader):
    """Gives a module that was imported while its parent was executed."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _LateFinder(MetaPathFinder):
    """Finds the modules of `_KNOWN`; executes one before a module inside it is imported, as Python does.

    ``inside``: import modules inside a late one without that.
    """

    inside = False

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        parent = name.rpartition(".")[0]
        if _is_late(parent) and not self.inside:
            _whole(parent)
            if name in sys.modules:
                return ModuleSpec(name, _Imported(sys.modules[name]))
        spec = PathFinder.find_spec(name, path) if name in _KNOWN else None
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)
        return spec


_FINDER = _LateFinder()


def install() -> None:
    """Import these modules late in this process, those that are not imported yet; a second call changes nothing."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def _is_late(name: str) -> bool:
    return type(sys.modules.get(name)) is _LateModule


def _whole(name: str) -> ModuleType:
    """The module, executed."""
    module = sys.modules[name]
    if (spec := module.__spec__) is not None and isinstance(late := spec.loader, _LateLoader):
        module.__class__, spec.loader = ModuleType, late.loader
        module.__loader__ = late.loader
        try:
            late.loader.exec_module(module)
        except BaseException:
            module.__class__, spec.loader = _LateModule, late
            raise
    return module


def _disable(function: Any, recursive: bool = True, **named: Any) -> Any:
    """``torch._dynamo.disable``: before the compiler is imported, nothing compiles the function."""
    disabled = cache(lambda: _whole("torch._dynamo").disable(function, recursive, **named))

    @wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Any:
        return (function if _is_late("torch._dynamo") else disabled())(*arguments, **keywords)

    return called


class _OptimizedModuleType(type):
    """Knows the instances of ``torch._dynamo.OptimizedModule``; there are none before the compiler is imported."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return not _is_late("torch._dynamo") and isinstance(instance, sys.modules["torch._dynamo"].OptimizedModule)


def _metric(module: str, name: str) -> Any:
    """A class of torchmetrics, imported without the other three hundred."""
    _FINDER.inside = True
    try:
        import_module("torchmetrics.utilities")  # first: it and the module of `Metric` import each other
        return getattr(import_module(module), name)
    finally:
        _FINDER.inside = False


def _plot(*arguments: Any, **named: Any) -> Any:
    return _whole("torchmetrics.utilities.plot").plot_single_or_multi_val(*arguments, **named)


#: Each late module, and of its names those that have their meaning without it.
_KNOWN: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    "torch._dynamo": {
        "disable": lambda: _disable,
        "graph_break": lambda: lambda *message: None,  # outside compiled code it does nothing
        "OptimizedModule": cache(lambda: _OptimizedModuleType("OptimizedModule", (), {})),
    },
    "torchmetrics": {
        "Metric": lambda: _metric("torchmetrics.metric", "Metric"),
        "MetricCollection": lambda: _metric("torchmetrics.collections", "MetricCollection"),
        "_logger": lambda: logging.getLogger("torchmetrics"),
        "__version__": lambda: import_module("importlib.metadata").version("torchmetrics"),
    },
    "torchmetrics.utilities.plot": {  # it imports matplotlib, for two annotations
        "_AX_TYPE": lambda: object,
        "_PLOT_OUT_TYPE": lambda: object,
        "plot_single_or_multi_val": lambda: _plot,
    },
}
