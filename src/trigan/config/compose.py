"""From the words of a command line to a checked, resolved, frozen config. Only this file composes with Hydra."""

import copy
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import _locate, create_config_search_path
from hydra.core.config_search_path import SearchPathElement
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trigan import absent_libraries
from trigan.config import locations, override_rules, schema
from trigan.config.allow_list import check_targets
from trigan.config.build import Built, build, load_pretraining_data, pretraining_fingerprint
from trigan.config.nodes import dotted_keys, targets, walk
from trigan.config.run_hash import run_hash
from trigan.config.settings import PRETRAINING_DATA_KEY, Debug, Paths, Resources, Runtime
from trigan.config.settings_file import check_folder, check_texts
from trigan.config.unused_settings import find_unused_settings
from trigan.errors import ConfigError

CONFIG_NAME = "config"
#: Folders beside the groups: Hydra's own, and the spaces of `trigan search`.
_NO_GROUPS = ("hydra", "search")
#: Keys whose value is a choice of a group that is used in several places, and that place.
_PLACED_CHOICES = {
    "strategy.unlabelled.strong": "augmentation@strategy.unlabelled.strong",
    "strategy.unlabelled.term.strong": "augmentation@strategy.unlabelled.term.strong",
    "strategy.consistency.strong": "augmentation@strategy.joint.consistency.strong",
    "strategy.joint.consistency.strong": "augmentation@strategy.joint.consistency.strong",
    "strategy.gan.transition": "stage/transition@strategy.gan.transition",
}
#: Architectures that another stage than that of GANs trains, by their target, and the choice that this is.
_STAGE_OF_GENERATOR = "stage@strategy.gan"
_OTHER_STAGES = {"trigan.networks.diffusion.edm.EDM": f"{_STAGE_OF_GENERATOR}=diffusion"}


@dataclass(frozen=True)
class RunConfig:
    """The complete description of a run: its config, plain and resolved, and the chosen option of each group.

    ``overrides`` is what the user wrote, ``unused`` what of it the chosen strategy does not read.
    """

    config: dict[str, Any] = field(repr=False)
    choices: dict[str, str | None]
    overrides: tuple[str, ...]
    unused: tuple[str, ...] = ()

    def build(self) -> Built:
        """New objects of the config; errors as `trigan.config.build.build`."""
        return build(self.config)

    def run_hash(self, fingerprint: str, protocol: int | None = None) -> str:
        """The run's identity, given the fingerprint of its data set; see `trigan.config.run_hash.run_hash`."""
        return run_hash(self.config, fingerprint, protocol, pretraining_fingerprint(self.config, self.paths.cache))

    def pickled(self) -> bytes | None:
        """The run for the process that computes it; None where several do, which compose it themselves."""
        return pickle.dumps(self) if self.resources.processes == 1 else None

    def load_data(self) -> Any:
        """The data set (`trigan.datasets.types.ImageDataset`), from the cache if it was read before."""
        return build({"data": self.config["data"]}).data.load(self.paths.cache)

    def load_external(self) -> Any:
        """The other data set that the strategy trains on, or None."""
        return load_pretraining_data(self.config, self.paths.cache)

    @property
    def trial(self) -> int:
        """Which draw of split and labels."""
        return int(self.config["trial"])

    @property
    def seed(self) -> int:
        """Of weights, order and noise."""
        return int(self.config["seed"])

    @property
    def paths(self) -> Paths:
        """Absolute paths, which a later change of directory does not affect."""
        return Paths(**{name: Path(value).expanduser().absolute() for name, value in self.config["paths"].items()})

    @property
    def runtime(self) -> Runtime:
        """How the process runs."""
        node = self.config["runtime"]
        return Runtime(**{**node, "allow": tuple(node["allow"])})

    @property
    def resources(self) -> Resources:
        """What the run computes on."""
        return Resources.of(self.config["trainer"], self.runtime)

    @property
    def debug(self) -> Debug | None:
        """The limits of a debug run; None for an ordinary run."""
        node = self.config.get("debug")
        return Debug(**node) if node else None


@dataclass(frozen=True)
class KnownRun:
    """The directory of a run, and the warnings of its data."""

    directory: Path
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Draft:
    """A composed run whose objects were not built: its config unresolved, its ``defaults`` and what the user gave."""

    run: RunConfig
    unresolved: dict[str, Any]
    defaults: dict[str, Any]
    given: list[str]

    def locate(self) -> None:
        """Import the modules of all targets."""
        for _, node in targets(self.run.config):
            _locate(node["_target_"])

    def check(self, data: bool = False) -> KnownRun | None:
        """Build the objects where no library is imported; with ``data``, look for the data set, too."""
        if not absent_libraries.is_possible():
            return None
        known = absent_libraries.without_libraries(self.locate, lambda: self.known() if data else bool(self.build()))
        return KnownRun(self.run.paths.runs / known[0], tuple(known[1])) if data and known else None

    def known(self) -> tuple[str, list[str]] | None:
        """The run's hash and the warnings of its data; None if they were never read. Builds the objects."""
        built = self.build()
        found = built.data.known(self.run.paths.cache) if "data" in vars(built) else None
        return found and (self.run.run_hash(found[0]), found[1])

    def build(self) -> Built:
        """The objects, after a check of their arguments' names and types."""
        schema.check(self.run.config, self.defaults, self.run.runtime.allow)
        return self.run.build()


class Composer:
    """Composes runs from trigan's ``conf/`` and the user's own folder of groups.

    Args:
        config_dir: the user's folder (``--config-dir``).
        conf: the folder that holds ``config.yaml``; trigan's own by default.
        check_devices: whether the runs are computed on this machine, which must have their devices; if not,
            ``accelerator: auto`` stays open.
    """

    def __init__(self, config_dir: Path | None = None, conf: Path | None = None, check_devices: bool = True) -> None:
        self._check_devices = check_devices
        version.setbase("1.3")
        search = create_config_search_path(str((conf or locations.conf()).absolute()))
        if config_dir is not None:
            if not config_dir.is_dir():
                raise ConfigError(f"--config-dir {config_dir}: no such folder")
            check_folder(config_dir)
            own = SearchPathElement("command-line", f"file://{config_dir.absolute()}")
            search.get_path().insert(-1, own)  # the last one is Hydra's own, for structured configs
        self.loader = ConfigLoaderImpl(config_search_path=search)
        self.hydra = Hydra(task_name="trigan", config_loader=self.loader)
        self._load_choices = lru_cache(self._load_choices_anew)  # a study's rows and columns have few choices
        self._last_draft = lru_cache(1)(self._draft_anew)  # what was checked is run
        self._checked: _Draft | None = None

    def parse(self, arguments: Sequence[str]) -> list[Override]:
        """The arguments as Hydra's overrides; a choice of an inner group may be written with dots.

        ``strategy.unlabelled=fixmatch`` is ``strategy/unlabelled=fixmatch`` if that group has that choice.
        ``strategy.pretrain.data=mnist`` is a choice of the group ``data`` at another place, and
        ``strategy.unlabelled.strong=NAME`` or ``strategy.consistency.strong=NAME`` one of the group ``augmentation``;
        ``strategy.gan.transition=known`` is one of the group ``stage/transition``.
        """
        return override_rules.parse([self._with_slashes(argument) for argument in arguments])

    def _with_slashes(self, argument: str) -> str:
        key, equals, value = argument.partition("=")
        if key == PRETRAINING_DATA_KEY and equals:
            return f"data@{argument}"
        if key in _PLACED_CHOICES and re.fullmatch(r"[a-z]\w*", value):
            return f"{_PLACED_CHOICES[key]}={value}"
        group = key.replace(".", "/")
        if "." not in key or not equals or group not in self.groups:
            return argument
        several = group in override_rules.SEVERAL and re.fullmatch(r"\[[\w-]+(, ?[\w-]+)*\]", value)
        word = several or (re.fullmatch(r"[\w-]+", value) and value != "null")  # a wrong one too: the error lists them
        return f"{group}={value}" if word or value in self.groups[group] else argument

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Every group with its choices, sorted."""
        return {name: choices for name in self._group_names("") if (choices := self._options(name, ObjectType.CONFIG))}

    def target(self, group: str, choice: str) -> Any:
        """The ``_target_`` that a choice's own file names, as it is written; None without one."""
        found = self.loader.repository.load_config(f"{group.replace('.', '/')}/{choice}")
        return None if found is None or not isinstance(found.config, DictConfig) else found.config.get("_target_")

    def _group_names(self, parent: str) -> list[str]:
        names = []
        for name in self._options(parent, ObjectType.GROUP):
            full = f"{parent}/{name}" if parent else name
            names += [full, *self._group_names(full)] if full not in _NO_GROUPS else []
        return names

    def _options(self, group: str, kind: ObjectType) -> list[str]:
        return sorted(set(self.loader.repository.get_group_options(group, kind)))

    def compose(self, arguments: Sequence[str]) -> RunConfig:
        """Check, compose, resolve, type-check and build once (the objects check their ranges and each other).

        What is wrong is found without the imports of the objects where that is possible.
        """
        draft = self._draft(arguments)
        if draft is not self._checked:
            draft.check()
        built = draft.build()
        if self._check_devices and "trainer" in vars(built):
            here, trainer = built.trainer.accelerator_here(), draft.run.config["trainer"]
            trainer |= {"accelerator": here} if trainer.get("accelerator") == "auto" else {}
        ignored = getattr(vars(built).get("strategy"), "unused_settings", ())
        return replace(draft.run, unused=tuple(find_unused_settings(draft.unresolved, draft.given, ignored)))

    def check(self, arguments: Sequence[str]) -> KnownRun | None:
        """Refuse what `compose` refuses, and data that are not there, as far as no library is needed to find it.

        Returns:
            The run; None unless its data were read before and its hash needs no library.
        """
        self._checked = self._draft(arguments)
        return self._checked.check(data=True)

    def known_hashes(self, runs: Sequence[Sequence[str]]) -> list[str]:
        """The runs' hashes, as far as `check` finds them: the data were read before, and no library is needed.

        Returns:
            One for each run; none at all if one of them is not found.
        """
        if not absent_libraries.is_possible():
            return []
        drafts = [self._draft(arguments) for arguments in runs]

        def locate() -> None:
            for draft in drafts:
                draft.locate()

        known = absent_libraries.without_libraries(locate, lambda: [draft.known() for draft in drafts])
        return [one[0] for one in known] if known and all(known) else []

    def outline(self, arguments: Sequence[str]) -> RunConfig:
        """The run's config; `compose` also checks and builds its objects."""
        return self._draft(arguments).run

    def _draft(self, arguments: Sequence[str]) -> "_Draft":
        """The run as far as it is known without its objects."""
        return self._last_draft(tuple(arguments))

    def _draft_anew(self, arguments: tuple[str, ...]) -> "_Draft":
        overrides = self.parse(arguments)
        cfg = self.load(overrides)
        config = resolve(cfg)
        schema.check_top_level(config)
        own = config["runtime"].get("allow", []) if "runtime" in config else []
        given = [override.key_or_group for override in overrides]
        if own and "runtime.allow" not in given:
            raise ConfigError(f"runtime.allow={list(own)}: may be given on the command line only, not in a file")
        check_targets(config, own)
        run = RunConfig(config, chosen(cfg), arguments)
        _ = run.paths, run.runtime, run.debug  # their constructors check them
        return _Draft(run, unresolved(cfg), unresolved(self.base(overrides)), given)

    def load(self, overrides: Sequence[Override]) -> DictConfig:
        """The composed config with Hydra's own node, its keys and choices checked, unresolved. Imports no target."""
        base = self.base(overrides)
        plain = unresolved(base)
        override_rules.check_keys(overrides, dotted_keys(plain), self.groups)
        _check_paths(plain.get("paths"), {override.key_or_group for override in overrides})
        cfg = copy.deepcopy(base)
        try:
            ConfigLoaderImpl._apply_overrides_to_config([o for o in overrides if not self._is_choice(o)], cfg)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_one_line(error)) from error
        changed = unresolved(cfg)
        schema.check_numbers(changed)
        for key in ("paths", "runtime"):
            if not isinstance(changed.get(key, {}), dict):
                raise ConfigError(f"{key}={schema.show(changed[key])}: expected its settings, {key}.NAME=VALUE")
        return cfg

    def words(self, overrides: Sequence[Override]) -> list[str]:
        """The overrides in Hydra's form: without ``group=null`` where null is the default."""
        return [str(o.input_line) for o in overrides if not self._is_no_choice(o)]

    def base(self, overrides: Sequence[Override]) -> DictConfig:
        """The config with the user's choices and no other value of theirs; the overrides' form is checked first."""
        override_rules.check_form(overrides, self.groups)
        choices: DictConfig = self._load_choices(tuple(self.words([o for o in overrides if self._is_choice(o)])))
        return choices

    def _is_choice(self, override: Override) -> bool:
        return override.key_or_group in self.groups and not isinstance(override.value(), dict)

    def _is_no_choice(self, override: Override) -> bool:
        """Whether the override is ``group=null`` where null is the default, as in ``debug=null``."""
        if not self._is_choice(override) or override.value() is not None:
            return False
        group = override.get_key_element()
        if chosen(self._load_choices(())).get(group) is not None:
            raise ConfigError(f"{group}=null: a choice is needed; choices: {', '.join(self.groups[group])}")
        return True

    def _load_choices_anew(self, choices: tuple[str, ...]) -> DictConfig:
        try:
            loaded = self.loader.load_configuration(CONFIG_NAME, list(choices), run_mode=RunMode.RUN)
            target = OmegaConf.select(loaded, "architecture._target_")
            if target in _OTHER_STAGES and chosen(loaded).get(_STAGE_OF_GENERATOR) == "gan":
                given = [choice for choice in choices if not choice.startswith(_STAGE_OF_GENERATOR)]
                words = [*given, _OTHER_STAGES[target]]
                loaded = self.loader.load_configuration(CONFIG_NAME, words, run_mode=RunMode.RUN)
            check_texts(unresolved(loaded))
            return loaded
        except yaml.YAMLError as error:
            raise ConfigError(f"cannot be read: {' '.join(str(error).split())}") from error
        except (ValueError, TypeError, RecursionError) as error:  # Hydra's, for `+data=[null]` or a file without end
            text = override_rules.first_line(error)
            raise ConfigError(f"these choices and their files cannot be composed: {text}") from error
        except (HydraException, OmegaConfBaseException) as error:
            unused = re.match(r"Could not override '(.+?)'.\s*(No match in the defaults list|Did you mean)", str(error))
            if unused:
                key = unused[1].rpartition("@")[2]
                raise ConfigError(f"{key}: has no place beside the other choices of this run") from error
            raise ConfigError(_one_line(error)) from error


def compose(arguments: Sequence[str], config_dir: Path | None = None) -> RunConfig:
    """One run; see `Composer`."""
    return Composer(config_dir).compose(arguments)


def chosen(cfg: DictConfig) -> dict[str, str | None]:
    """The chosen option of every group of a config from `Composer.load`."""
    choices = dict(cfg.hydra.runtime.choices)
    return {str(group): option for group, option in sorted(choices.items()) if not str(group).startswith("hydra/")}


def _check_paths(paths: Any, given: set[str]) -> None:
    """Refuse a folder to write to that a file places outside the current one, unless the user gives another."""
    for name, value in paths.items() if isinstance(paths, dict) and "paths" not in given else ():
        plain = Path(str(value).replace("${paths.outputs}", "outputs"))
        if f"paths.{name}" not in given and (
            plain.is_absolute() or {"..", "~"} & set(plain.parts) or "${" in str(plain)
        ):
            raise ConfigError(f"paths.{name}={value}: outside the current folder; give it on the command line instead")


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, without Hydra's own node; every ``???`` must be given."""
    HydraConfig.instance().set_config(cfg)
    if missing := [key for key, value in walk(unresolved(cfg)) if value == "???"]:
        raise ConfigError(f"{missing[0]}: has no default and was not given; add {missing[0]}=VALUE")
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    try:
        plain: Any = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(error)) from error
    return {str(key): value for key, value in plain.items()}


def unresolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values with its interpolations and ``???`` as written, without Hydra's own node."""
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def _one_line(error: Exception) -> str:
    """One line of a Hydra or OmegaConf error, with the key in front."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(error).strip().splitlines()]
    text = " ".join(line for line in lines if not line.startswith(("full_key", "object_type", "See http")))
    key = getattr(cause, "full_key", None)
    return f"{key}: {text}" if key else text
