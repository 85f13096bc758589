"""trigan: does a GAN help my classifier, on my data, with my label budget, and which way of using it is best?

``trigan.run("strategy=joint")`` trains one run, ``trigan.study("demo")`` fills a table, ``trigan.verdict(...)`` answers
the question for your own images; ``trigan.data`` and ``trigan.draw`` give data sets and splits. Losses, networks and
samplers (``trigan.losses``, ``trigan.networks``, ``trigan.samples``) are plain torch and work in any loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trigan.errors import ArtifactError, ConfigError, DataError, DivergedError, SealedError, TriganError
from trigan.version import PROTOCOL_VERSION, __version__

if TYPE_CHECKING:
    from trigan.api.dataset_handle import data, draw
    from trigan.api.run_handle import Run, load, run
    from trigan.api.study_handle import Study, Verdict, study, verdict

_LAZY_IMPORTS = {
    **dict.fromkeys(("run", "load", "Run"), "trigan.api.run_handle"),
    **dict.fromkeys(("study", "verdict", "Study", "Verdict"), "trigan.api.study_handle"),
    **dict.fromkeys(("data", "draw"), "trigan.api.dataset_handle"),
}

__all__ = [
    "PROTOCOL_VERSION",
    "ArtifactError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "Run",
    "SealedError",
    "Study",
    "TriganError",
    "Verdict",
    "__version__",
    "data",
    "draw",
    "load",
    "run",
    "study",
    "verdict",
]


def __getattr__(name: str) -> Any:
    """Import public names lazily, so that ``import trigan`` is fast."""
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module 'trigan' has no attribute {name!r}")
    return getattr(import_module(_LAZY_IMPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
