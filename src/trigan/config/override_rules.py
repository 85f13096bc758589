"""What a user may write after ``trigan run``: checked against the existing groups and settings before composing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from trigan.config.nodes import dotted_keys
from trigan.config.schema import show
from trigan.config.settings import PRETRAINING_DATA_KEY
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

#: Texts that Hydra reads as another value unless they are quoted.
_RESERVED = ("null", "true", "false", "nan", "inf", "infinity")
_QUOTES = "quote values with spaces, commas or brackets, within the shell's quotes: \"data.root='my images'\""
#: Groups of which several choices may be taken at once.
SEVERAL = ("logger", "loss/regularizers")
#: What a value may have without quotes, beside letters and digits of ASCII.
_PLAIN = "_-./:+%@?|*\\$=,()[]{}'\""


def parse(arguments: Sequence[str]) -> list[Override]:
    """The arguments as Hydra's overrides, parsed one at a time, so that an error names the wrong one."""
    parser = OverridesParser.create()
    parsed = []
    for argument in arguments:
        if argument.startswith("-"):
            raise ConfigError(f"{argument}: no such option; `trigan run --help` lists them")
        if argument.endswith("=") and not argument.startswith("~"):
            raise ConfigError(
                f"{argument}: the value is empty (a shell variable that is not set?); give one, or null, or "
                f"\"{argument}''\""
            )
        try:
            parsed += parser.parse_overrides([argument])
        except (HydraException, ValueError, RecursionError) as error:  # Python reads at most 4,300 digits
            if "=" not in argument:
                path = f", e.g. data=folder data.root={argument}" if "/" in argument else ""
                raise ConfigError(f"{argument}: no setting; settings are written key=value{path}") from error
            raise ConfigError(f"{argument}: cannot be read ({first_line(error)}); {_quotes(argument)}") from error
    return parsed


def _quotes(argument: str) -> str:
    """How to quote the value, with the character that needs it."""
    key, _, value = argument.partition("=")
    odd = next((one for one in value if not (one.isascii() and one.isalnum()) and one not in _PLAIN + " "), None)
    if odd is None or "'" in value:
        return _QUOTES
    return f"quote the value, which has the character {odd}, within the shell's quotes: \"{key}='{value}'\""


def check_form(overrides: Iterable[Override], groups: Mapping[str, Sequence[str]], multirun: bool = False) -> None:
    """Refuse ``~key``, ``hydra.*``, sweeps without ``-m``, and choices that do not exist in ``groups``."""
    for override in overrides:
        key, text = override.key_or_group, str(override.input_line)
        if override.is_delete():
            raise ConfigError(
                f"{text}: settings are not removed with ~; give null, or the choice `none` where a group has it"
            )
        if key.split(".")[0].split("/")[0] == "hydra":
            raise ConfigError(
                f"{text}: Hydra's own settings have no effect here, but for hydra/launcher and hydra.launcher.* of "
                "several jobs (-m, trigan study); each job is a process of its own"
            )
        if override.is_sweep_override():
            if not multirun:
                raise ConfigError(f"{text}: several values need --multirun (-m); a list is written [a,b]")
        elif key in groups and not _is_added(override) and not isinstance(override.value(), dict):
            _check_choice(override.package or key, override.value(), groups[key])


def _check_choice(group: str, choice: Any, options: Sequence[str]) -> None:
    if isinstance(choice, list) and group in SEVERAL and choice:
        for one in choice:
            _check_choice(group, one, options)
        return
    if isinstance(choice, list):
        raise ConfigError(f"{group}={','.join(map(str, choice))}: one choice is needed; several runs: -m {group}=A,B")
    if choice is not None and str(choice) not in options:
        near = nearest_hint(str(choice), options) or "; choices of your own are found with --config-dir FOLDER"
        raise ConfigError(f"{group}={choice}: no such choice; choices: {', '.join(options)}{near}")


def check_keys(overrides: Iterable[Override], known: Iterable[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse settings that are not ``known`` (dotted keys of the composed config), and ``+key`` for those that are."""
    names = set(known)
    for override in overrides:
        key, value = override.key_or_group, override.value()
        is_choice = key in groups and not isinstance(value, dict)
        missing = [] if is_choice else [name for name in (key, *dotted_keys(value, key)) if name not in names]
        if missing:
            plus = " (and + adds none)" if _is_added(override) else ""
            raise ConfigError(f"{missing[0]}: no such setting{plus}{_mend(missing[0], names, groups)}")
        if _is_added(override):
            text = str(override.input_line)
            raise ConfigError(f"{text}: the setting exists, so nothing is added with +; write {text.lstrip('+')}")


def _mend(key: str, names: set[str], groups: Mapping[str, Sequence[str]]) -> str:
    def is_null(parent: str) -> bool:
        return key.startswith(f"{parent}.") and not any(name.startswith(f"{parent}.") for name in names)

    head = key.partition(".")[0]
    for parent, group in ((PRETRAINING_DATA_KEY, "data"), (head, head)):
        if group in groups and is_null(parent) and (parent == head or parent.rpartition(".")[0] in names):
            return f" while {parent} is null; choices of {parent}: {', '.join(groups[group])}"
    return nearest_hint(key, names | set(groups))


def _is_added(override: Override) -> bool:
    return bool(override.is_add() or override.is_force_add())


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type when it has none."""
    text = str(error).strip()
    if text.startswith("LexerNoViableAltException"):
        return "no key=value"
    lines = (line for line in text.splitlines() if not line.startswith("Error parsing override"))
    return next(lines, type(error).__name__).rstrip(".")


def hydra_literal(value: Any) -> str:
    """A value as Hydra reads it back: ``null``, ``true``, ``0.001``, ``'a b'``."""
    if not isinstance(value, str):
        return show(value)
    plain = re.fullmatch(r"[a-z_][\w-]*", value.lower()) and value.lower() not in _RESERVED
    return value if plain else hydra_quoted(value)


def hydra_quoted(text: str) -> str:
    """A text as a value that Hydra reads back unchanged."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash counts as one unless a quote follows
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"
