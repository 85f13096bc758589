"""Which ``_target_`` a config may name: an allow-list, checked before anything is imported or built.

Hydra's own blocklist is no security boundary (``torch.load`` and ``torch.hub.load`` pass it), and configs come from
files that strangers share.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra._internal.utils import _locate

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

ALLOWED_MODULES = ("trigan", "torch.nn", "torch.optim", "pytorch_lightning", "torchmetrics")
#: Rooms of our own that start processes or write files, and that no config builds anything from.
FORBIDDEN_MODULES = (
    "trigan.commands",
    "trigan.config",
    "trigan.execution",
    "trigan.runs",
    "trigan.studies",
    "trigan.search",
    "trigan.interop",
    "trigan.artifacts",
    "trigan.records",
    "trigan.tables",
    "trigan.plots",
    "trigan.reports",
    "trigan.atomic",
)
#: Where plain functions may be named; elsewhere only classes (other functions read files, write them, unpickle).
FUNCTION_MODULES = ("trigan.losses", "trigan.networks", "trigan.training.objectives", "torch.nn")


def targets(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a ``_target_``, outermost first, as (dotted key, node); lists count by index."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        items: Iterable[tuple[Any, Any]] = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    else:
        return
    for name, item in items:
        yield from targets(item, f"{key}.{name}" if key else str(name))


def check_targets(config: dict[str, Any], own: Sequence[str] = ()) -> None:
    """Refuse, without importing anything, every ``_target_`` in ``config`` that lies outside the allow-list.

    Args:
        own: modules that the user named in ``runtime.allow``.
    """
    for key, node in targets(config):
        name = node["_target_"]
        if (
            not isinstance(name, str)
            or not _plain(name)
            or not _inside(name, (*ALLOWED_MODULES, *own))
            or _inside(name, FORBIDDEN_MODULES)
        ):
            raise _refusal(key, name, own)


def import_target(key: str, name: str, own: Sequence[str] = ()) -> Any:
    """The class or function that ``name`` stands for; ``name`` has passed :func:`check_targets`.

    A path can lead out of an allowed module (``trigan.rng.hashlib.new``), so the found object's own module is
    checked too.
    """
    try:
        found = _locate(name)  # get_object would log the error as well
    except Exception as error:
        cause = error.__cause__ or error
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise ConfigError(f"{key}._target_={name}: cannot be found{_nearest(name) or f' ({reason})'}") from error
    home = getattr(found, "__module__", None)
    plain_function = inspect.isfunction(found) and "." not in found.__qualname__
    if not isinstance(home, str) or not (inspect.isclass(found) or plain_function):
        raise ConfigError(f"{key}._target_={name}: expected a class or a function")
    allowed = (*ALLOWED_MODULES, *own) if inspect.isclass(found) else (*FUNCTION_MODULES, *own)
    if not _inside(home, allowed) or _inside(home, FORBIDDEN_MODULES):
        raise _refusal(key, name, own)
    return found


def _nearest(name: str) -> str:
    """``"; nearest: X"``, of what the module of ``name``, imported by now, has of its own; or nothing."""
    home = name.rpartition(".")[0]
    known = vars(sys.modules[home]) if home in sys.modules else {}
    own = [word for word, one in known.items() if _inside(str(getattr(one, "__module__", "")), [home])]
    return nearest_hint(name, [f"{home}.{word}" for word in own])


def _plain(name: str) -> bool:
    return all(part.isidentifier() and not part.startswith("_") for part in name.split("."))


def _inside(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def _refusal(key: str, name: object, own: Sequence[str]) -> ConfigError:
    allowed = ", ".join(f"{module}.*" for module in (*ALLOWED_MODULES, *own))
    return ConfigError(
        f"{key}._target_={name}: not on the allow-list ({allowed}); "
        "name a module of your own with 'runtime.allow=[module]'"
    )
