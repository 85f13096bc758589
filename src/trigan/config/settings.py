"""The settings outside every group, typed so that they are checked like the arguments of a ``_target_``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from trigan.errors import ConfigError


@dataclass(frozen=True)
class AtLeast:
    """A lower bound of a number: ``Annotated[int, AtLeast(0)]``."""

    low: int


NonNegativeInt = Annotated[int, AtLeast(0)]
PositiveInt = Annotated[int, AtLeast(1)]


@dataclass(frozen=True)
class Paths:
    """The folders that trigan writes to."""

    outputs: Path
    runs: Path
    artifacts: Path
    cache: Path


#: Jobs on a GPU with ``runtime.jobs_per_device=auto``: on an H200 8 did 5.3 times the steps of one, and 16 did 7.8
#: times, each at half the speed of one (benchmarks/results/gpu.json).
AUTO_JOBS_PER_GPU = 8


@dataclass(frozen=True)
class Runtime:
    """How the process runs. ``threads``: of torch; ``allow``: the user's own modules that a config may name.

    ``jobs_per_device``: jobs of a study or a search that share a GPU, each with an equal part of its memory; ``auto``:
    as many as cores allow, up to `AUTO_JOBS_PER_GPU`.
    """

    threads: PositiveInt = 1
    jobs_per_device: PositiveInt | Literal["auto"] = 1
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.allow:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ConfigError(f"runtime.allow={name}: expected names of modules, e.g. 'runtime.allow=[mypackage]'")


@dataclass(frozen=True)
class Debug:
    """A short run, stored apart; ``max_steps`` is the most steps of every stage."""

    max_steps: PositiveInt | None = None


@dataclass(frozen=True)
class TuningInfo:
    """The search that chose a run's settings, its number of trials and of validation labels.

    ``trial``: the one whose split the search used; None: not known.
    """

    search: str | None = None
    trials: NonNegativeInt = 0
    labels: NonNegativeInt = 0
    trial: NonNegativeInt | None = None

    def __post_init__(self) -> None:
        for name, count in (("trials", self.trials), ("labels", self.labels)):
            if self.search is not None and count == 0:
                raise ConfigError(
                    f"tuned.{name}=0: a search has chosen these settings (tuned.search={self.search}), and its labels "
                    "count as labels for selection; give its numbers of trials and labels, as its best.yaml does"
                )


@dataclass(frozen=True)
class Evaluation:
    """How classifiers and generators are scored.

    ``specificity``: at which the sensitivity is taken, above 0 and below 1; ``generator_images``: the most samples, and
    training images, that the figures of a generator come from; 0: no figures; ``generator_classifiers``: whether
    classifiers are trained on samples for further figures, GAN-train, GAN-test and NAS. A class with more training
    labels than ``many_labels`` has many, one with fewer than ``few_labels`` few: groups of classes in the scores.

    ``attacks`` and ``corruptions``: what C is tried with; ``eps`` and ``eps_l2``: sizes of attacks of L-inf and L2, for
    pixels in [0, 1]; ``attack_steps``: of PGD and of each attack of the ensemble; ``robustness_images``: the most test
    images that are attacked and corrupted; ``calibration``: a scaling of C's logits, fitted on validation labels.
    """

    specificity: float = 0.95
    generator_images: NonNegativeInt = 2000
    generator_classifiers: bool = False
    attacks: tuple[Literal["fgsm", "pgd", "pgd_l2", "auto", "auto_l2"], ...] = ()
    eps: tuple[float, ...] = (0.1,)
    eps_l2: tuple[float, ...] = (1.0,)
    attack_steps: PositiveInt = 20
    corruptions: bool = False
    robustness_images: PositiveInt = 1000
    many_labels: NonNegativeInt = 100
    few_labels: NonNegativeInt = 20
    calibration: Literal["none", "temperature", "vector"] = "none"

    def __post_init__(self) -> None:
        for name in ("attacks", "eps", "eps_l2"):  # YAML has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 0 < self.specificity < 1:
            raise ConfigError(f"evaluation.specificity={self.specificity}: expected above 0 and below 1, e.g. 0.95")
        for name, example in (("eps", "[0.1]"), ("eps_l2", "[1.0]")):
            sizes = getattr(self, name)
            if not sizes or min(sizes) <= 0.0:
                raise ConfigError(
                    f"evaluation.{name}={list(sizes)}: expected one or more sizes above 0, e.g. {example}"
                )
        if self.few_labels > self.many_labels + 1:
            raise ConfigError(
                f"evaluation.few_labels={self.few_labels}: expected at most evaluation.many_labels + 1, which is "
                f"{self.many_labels + 1}, so that no class has many and few labels"
            )


@dataclass(frozen=True)
class Resources:
    """What a job computes on: processes of some threads each, on the CPU or on a GPU for ``jobs_per_gpu`` jobs."""

    processes: int = 1
    gpu: bool = False
    threads: int = 1
    jobs_per_gpu: int = 1

    @classmethod
    def of(cls, trainer: Mapping[str, Any], runtime: Runtime) -> "Resources":
        """What a run with these settings computes on."""
        gpu, shared = trainer.get("accelerator") == "gpu", runtime.jobs_per_device
        jobs = AUTO_JOBS_PER_GPU if shared == "auto" else shared
        return cls(int(trainer["devices"]), gpu, runtime.threads, jobs if gpu else 1)

    @property
    def cores(self) -> int:
        """CPU cores of all processes."""
        return self.processes * self.threads


#: The top-level keys of a config outside the groups, with their types.
TOP_LEVEL: dict[str, object] = {
    "trial": NonNegativeInt,
    "seed": NonNegativeInt,
    "study": str | None,
    "row": str | None,
    "tuned": TuningInfo,
    "evaluation": Evaluation,
    "paths": Paths,
    "runtime": Runtime,
    "debug": Debug | None,
}

#: The largest value of settings of these names, wherever they stand: above them a machine is filled, or never done.
LIMITS = {
    **dict.fromkeys(
        ("devices", "threads", "generators", "folds", "teacher_folds", "sets", "discriminator_steps"), 1024
    ),
    **dict.fromkeys(("width", "latent", "hidden", "projection", "joint_units", "label_embedding_dim"), 65_536),
    **dict.fromkeys(("batch", "accumulate", "per_step", "widening", "depth", "max_multiplier"), 65_536),
    **dict.fromkeys(("candidates", "snapshots", "operations", "columns", "sample_grids", "grid", "ratio"), 65_536),
    "steps": 10**10,
    "generator_images": 50_000,
}

#: Top-level keys that cannot change a result and are not hashed, except ``tuned`` where it names a search, and
#: ``evaluation`` where it is not the default.
UNHASHED_KEYS = ("paths", "runtime", "logger", "callbacks", "study", "row", "tuned", "evaluation")
#: Where a choice of ``data`` names another data set that a strategy trains on.
PRETRAINING_DATA_KEY = "strategy.pretrain.data"

#: The probability from which the classifier labels the samples of an unconditional generator.
LABEL_THRESHOLD = 0.8
