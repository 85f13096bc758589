"""Shell completion: Hydra's own for settings and choices, preceded by trigan's command names."""

import os
import sys

from trigan.commands.main import COMMANDS
from trigan.config import locations
from trigan.config.compose import CONFIG_NAME, Composer
from trigan.errors import ConfigError
from trigan.search.space import list_spaces

SHELLS = ("bash", "zsh", "fish")


def main(arguments: list[str]) -> int:
    """``trigan --shell-completion install=SHELL | uninstall=SHELL | query=SHELL``.

    A query reads the line from ``COMP_LINE`` and prints what may follow.
    """
    verb, _, shell = arguments[0].partition("=") if len(arguments) == 1 else ("", "", "")
    if verb not in ("install", "uninstall", "query") or shell not in SHELLS:
        raise ConfigError(
            f"--shell-completion: expected install=SHELL or uninstall=SHELL, SHELL one of {', '.join(SHELLS)}"
        )
    if verb == "query":
        print(("\n" if shell == "fish" else " ").join(candidates(os.environ.get("COMP_LINE", ""), shell)))
    else:
        sys.argv[0] = "trigan"  # the scripts that Hydra writes name the command by it
        Composer().hydra.shell_completion(CONFIG_NAME, [f"{verb}={shell}"])
    return 0


def candidates(line: str, shell: str = "bash") -> list[str]:
    """What may replace the last word of ``line``, which starts with the program's name."""
    words = line.split()
    if line.endswith(" ") or len(words) <= 1:
        words.append("")
    command, last = words[1] if len(words) > 1 else "", words[-1]
    if command == "run" and len(words) > 2:
        composer = Composer()
        plugin = composer.hydra.get_shell_to_plugin_map(composer.loader)[shell][0]
        found: list[str] = plugin._query(CONFIG_NAME, " ".join(words[2:]))
        return [word for word in found if not word.startswith("hydra")]
    names: list[str] = []
    if len(words) == 2:
        names = list(COMMANDS)
    elif len(words) == 3 and command in ("study", "table", "report"):
        names = sorted(path.parent.name for path in locations.experiments().glob("*/study.yaml"))
    elif len(words) == 3 and command in ("search", "wandb-sweep"):
        names = list(list_spaces())
    elif len(words) == 3 and command == "data":
        names = ["check"]
    return [name for name in names if name.startswith(last)]
