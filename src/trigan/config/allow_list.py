"""Which ``_target_`` a config may name: an allow-list, checked before anything is imported or built.

Hydra's own blocklist is no security boundary (``torch.load`` and ``torch.hub.load`` pass it), and configs are files
that strangers share.
"""

import inspect
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from hydra._internal.utils import _locate

from trigan.absent_libraries import PLACEHOLDER
from trigan.component_ids import identifier_of
from trigan.config.nodes import targets
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

ALLOWED_MODULES = ("trigan", "torch.nn", "torch.optim")
#: Where a config may name plain functions; elsewhere only classes (other functions read or write files, or unpickle).
FUNCTION_MODULES = ("trigan", "torch.nn")


def check_targets(config: dict[str, Any], own: Sequence[str] = ()) -> None:
    """Refuse, importing nothing, every ``_target_`` outside the allow-list and the user's ``own`` modules."""
    for key, node in targets(config):
        name = node["_target_"]
        plain = isinstance(name, str) and all(p.isidentifier() and not p.startswith("_") for p in name.split("."))
        if not plain or not _inside(name, (*ALLOWED_MODULES, *own)):
            raise _refusal(key, name, own)


def import_target(key: str, name: str, own: Sequence[str] = ()) -> Any:
    """The class or function of a name that has passed `check_targets`.

    A path can lead out of an allowed module (``trigan.rng.hashlib.new``), so the object's own module is checked too. Of
    trigan's own classes and functions only components can be named: others start processes or write files.
    """
    try:
        target = _locate(name)  # get_object would log the error as well
    except Exception as error:
        reason = str(error.__cause__ or error).strip() or type(error.__cause__ or error).__name__
        hint = _nearest(name) or f" ({reason.splitlines()[0]})"
        if isinstance(error.__cause__, ModuleNotFoundError) and _inside(name, own):
            hint += "; the current folder is searched only if it is in PYTHONPATH: export PYTHONPATH=."
        raise ConfigError(f"{key}._target_={name}: cannot be found{hint}") from error
    if target is PLACEHOLDER:  # of a library or the user: checked once it is imported
        return target
    module = getattr(target, "__module__", None)
    plain_function = inspect.isfunction(target) and "." not in target.__qualname__
    if not isinstance(module, str) or not (inspect.isclass(target) or plain_function):
        raise ConfigError(f"{key}._target_={name}: expected a class or a function")
    allowed = ALLOWED_MODULES if inspect.isclass(target) else FUNCTION_MODULES
    inner = _inside(module, ["trigan"]) and identifier_of(target) is None
    if inner or not _inside(module, (*allowed, *own)):
        raise _refusal(key, name, own)
    return target


def _nearest(name: str) -> str:
    """A hint to the nearest name that the module, if it is imported, defines itself."""
    module = name.rpartition(".")[0]
    members = vars(sys.modules[module]) if module in sys.modules else {}
    own = [word for word, member in members.items() if _inside(str(getattr(member, "__module__", "")), [module])]
    return nearest_hint(name, [f"{module}.{word}" for word in own])


def _inside(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def _refusal(key: str, name: object, own: Sequence[str]) -> ConfigError:
    allowed = ", ".join(f"{module}.*" for module in (*ALLOWED_MODULES, *own))
    return ConfigError(
        f"{key}._target_={name}: not on the allow-list ({allowed}); "
        "name a module of your own with 'runtime.allow=[module]'"
    )
