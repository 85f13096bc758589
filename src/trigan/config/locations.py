"""The folders ``conf/`` and ``experiments/``: in the source tree if it is editable, inside the package of a wheel."""

from pathlib import Path

from trigan.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def conf() -> Path:
    """The folder of the configuration groups."""
    return _find("conf", "config.yaml")


def experiments() -> Path:
    """The folder of the studies that come with trigan."""
    return _find("experiments", "")


def _find(name: str, file: str) -> Path:
    for parent in (_PACKAGE.parents[1], _PACKAGE):
        if (parent / name / file).exists() and (parent == _PACKAGE or (parent / "pyproject.toml").exists()):
            return parent / name
    raise ConfigError(f"{name}/ is neither beside src/ nor inside the installed package; install trigan again")
