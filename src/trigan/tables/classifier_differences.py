"""What differs in C's training between a row and the rows that it is compared with, and what the study declares."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trigan.component_ids import with_defaults
from trigan.records.config_keys import flatten
from trigan.records.record import EXTERNAL, AugmentationCount, ClassifierCounts, Record
from trigan.tables.rows import setting_text
from trigan.tables.table import Table

#: Identifiers of what the audit looks for in a strategy; records name components by them.
_RECIPE, _AUGMENTATION = "recipe/recipe@", "augmentation/"
_ID, _CLASS = "_id_", "._id_"
#: Parts of a strategy that train no C, or none of the row's own, and the augmentation that is D's.
_OTHER_NETWORKS = ("strategy.gan.", "strategy.backbone.")
_NOT_FOR_C, _OF_D = (*_OTHER_NETWORKS, "strategy.teacher."), "discriminator_augmentation"
#: Parts of a recipe that do not change what is trained.
_WITHOUT_EFFECT = ("recipe.selection.snapshots",)
#: What C is shown, by kind, and settings whose choice says how the kind is used and augmented.
_KINDS = {
    "labelled images": ("recipe.augmentation", "recipe.mix"),
    "unlabelled images": ("recipe.augmentation", "strategy.unlabelled", "strategy.objective", "strategy.consistency"),
    "pseudo-labelled images": ("recipe.augmentation", "strategy.unlabelled"),
    "samples": ("recipe.augmentation", "strategy.schedule"),
    "generated images": ("strategy.objective", "discriminator_augmentation"),
}
#: Counts that a strategy's own definition changes: they are printed, and never count as undeclared.
_BY_DEFINITION = (*(f"{kind} shown to C" for kind in _KINDS if kind != "labelled images"), "operations")
_STATISTICS, _LABELLED, _UPDATES = "images of C's batch-norm statistics", "labelled images shown to C", "updates of C"
_AUGMENTATION_OF = "augmentation of "  # and a kind
#: Kinds that the recipe's augmentation is for, and the fit on samples alone that precedes one on real images.
_BY_RECIPE, _ON_SAMPLES = ("labelled images", "samples", "pseudo-labelled images"), "classifier-synthetic"
#: The fit of a new head after C's own.
_HEAD = "classifier-head"


@dataclass(frozen=True)
class AuditedRow:
    """A row as the audit reads it.

    Attributes:
        config: a resolved config with identifiers, as in a record.
        given: the row's own settings (``key=value``).
        declares: names of further settings or counts whose difference the study declares.
        counted: counts of a record; empty without one.
        not_applied: augmentations in a record's settings that were not applied, as `not_applied` has them.
        unlabelled: number of unlabelled images that the row uses; None without a record.
    """

    name: str
    config: Mapping[str, Any] = field(repr=False)
    given: tuple[str, ...] = ()
    declares: tuple[str, ...] = ()
    counted: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int | None = None
    not_applied: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuditDifference:
    """One setting or count of C's training that differs between two rows; ``declared``: whether the study says so."""

    row: str
    against: str
    setting: str
    value: str
    other: str
    declared: bool


def audited_row(record: Record, name: str, given: tuple[str, ...], declares: tuple[str, ...]) -> AuditedRow:
    """A row as one of its records has it."""
    unlabelled = record["result"]["data_used"]["U"]
    config = with_defaults(record["config"])
    return AuditedRow(name, config, given, declares, counts(record), unlabelled, not_applied(record))


def compare_rows(row: AuditedRow, other: AuditedRow) -> list[AuditDifference]:
    """All differences in what touches C, undeclared ones first.

    A difference of a setting is declared if a setting that only one of the rows has names it (or the group or part of
    the recipe that it belongs to), or if a row's ``declares`` does. What only one of the rows has at all, such as the
    strong view of FixMatch, is its strategy's definition, which ``set`` names by the choice of the strategy. Counts of
    how a kind of images was augmented are declared by a choice of how these images are used. An augmentation that a
    row's settings have, and that was applied to no image, is never declared but by name.
    """
    named = {_name(text) for text in set(row.given) ^ set(other.given)}
    declares = {*row.declares, *other.declares}
    sides = settings_of_c(row.config), settings_of_c(other.config)
    found = [
        AuditDifference(row.name, other.name, key, *values, _is_named(key, named, declares))
        for key, values in _differing(*sides).items()
    ]
    length = any(_is_named(key, named, declares) for key in ("recipe.steps", "recipe.batch"))
    length |= any(_within(name, place) for name in named for place in ("strategy.head", "strategy.schedule"))
    for key in sorted(row.counted.keys() & other.counted.keys()):
        if row.counted[key] != other.counted[key]:
            declared = key in _BY_DEFINITION or key in declares or (key in (_LABELLED, _UPDATES) and length)
            declared |= key == _STATISTICS and row.unlabelled != other.unlabelled
            use = _KINDS.get(key.removeprefix(_AUGMENTATION_OF), ()) if key.startswith(_AUGMENTATION_OF) else ()
            declared |= any(_is_named(place, named, ()) for place in use)
            found.append(AuditDifference(row.name, other.name, key, row.counted[key], other.counted[key], declared))
    for key in sorted({*row.not_applied, *other.not_applied}):
        value, against = (
            "applied to none" if key in one.not_applied else "as its settings say" for one in (row, other)
        )
        found.append(AuditDifference(row.name, other.name, key, value, against, key in declares))
    return sorted(found, key=lambda one: one.declared)


def settings_of_c(config: Mapping[str, Any]) -> dict[str, str]:
    """Every setting that touches C's training, as text, by name.

    ``recipe.*``: of every recipe inside the strategy; several that differ give one text with all values.
    ``strong.*``, ``weak.*``, and so on: augmentations outside the recipe, by their last name,
    so that one method's views are compared in two strategies. Precision and micro-batches are the trainer's.
    """
    found: dict[str, list[str]] = {}
    for place, node in _components(config.get("strategy"), "strategy"):
        owner = "recipe" if _identifier(node).startswith(_RECIPE) else place.rpartition(".")[2]
        if owner != "recipe" and place.startswith(_OTHER_NETWORKS):
            continue
        for key, value in flatten(node).items():
            name = f"{owner}.{key}"
            if name.startswith(_WITHOUT_EFFECT):
                continue
            text = setting_text(value)
            if text not in found.setdefault(name, []):
                found[name].append(text)
    trainer = config.get("trainer") or {}
    kept = {f"trainer.{key}": [setting_text(trainer[key])] for key in ("precision", "accumulate") if key in trainer}
    return {name: " and ".join(texts) for name, texts in (found | kept).items()}


def counts(record: Record) -> dict[str, str]:
    """What was counted of C's training: of the last fit of C that the record's stages have, and of one on samples."""
    found = {"operations": str(record["result"]["cost"]["flops"])}
    fits = _final_fits(record)
    if not fits:
        return found
    shown, views = _shown(record), dict[str, Counter[str]]()
    for kind, one in _augmented(record) or ():
        text = f"{one['view']}: {_component_text(one['augmentation'])}"
        views.setdefault(kind, Counter())[text] += one["images"]
    found[_STATISTICS] = str(next(reversed(fits.values()))["statistics"])
    found[_UPDATES] = str(sum(fit["updates"] for fit in fits.values()))
    found |= {f"{kind} shown to C": str(shown[kind]) for kind in _KINDS}
    for kind in filter(shown.__getitem__, _KINDS if _augmented(record) is not None else ()):
        parts = [f"{text} x {n / shown[kind]:.2f}" for text, n in sorted(views.get(kind, Counter()).items()) if n]
        found[f"{_AUGMENTATION_OF}{kind}"] = ", ".join(parts) or "none"
    return found


def not_applied(record: Record) -> tuple[str, ...]:
    """Augmentations in a record's settings that changed no image of their kind that C was shown.

    Each is named ``augmentation of KIND by SETTING``.

    The recipe's is for labelled images, samples and pseudo-labelled images, the others are for unlabelled images. One
    without strengths is none. A record of before these counts, or without a fit of C, has nothing to say.
    """
    augmented, shown, found = _augmented(record), _shown(record), dict[str, bool]()
    if augmented is None:
        return ()
    applied = [(kind, _flat_text(one["augmentation"])) for kind, one in augmented if one["images"]]
    for place, node in _components(with_defaults(record["config"].get("strategy")), "strategy"):
        if place.startswith(_NOT_FOR_C) or place.endswith(_OF_D):
            continue
        kinds, name = ["unlabelled images"], place.removeprefix("strategy.")
        if _identifier(node).startswith(_RECIPE):
            kinds, name = [kind for kind in _BY_RECIPE if shown[kind]], "recipe.augmentation"
            node = node.get("augmentation") or {}
        if any(value for key, value in flatten(node).items() if not key.endswith(_ID)):
            decided = {key: text for key, text in _flat_text(node).items() if text != "auto"}  # in each trial
            settings = decided.items()
            for kind in kinds:
                key = f"{_AUGMENTATION_OF}{kind} by {name}"
                found[key] = found.get(key, False) or any(settings <= one.items() for on, one in applied if on == kind)
    return tuple(key for key, holds in found.items() if not holds)


def _final_fits(record: Record) -> dict[str, ClassifierCounts]:
    """Counts of the row's own C by the stage's name, the last fit last; teachers and backbones are other networks.

    A head that is trained anew adds its own.
    """
    fits = {str(one.get("name")): one["classifier"] for one in record["result"]["stages"] if "classifier" in one}
    final = next((name for name in ("classifier", "joint") if name in fits), None)
    order = (_ON_SAMPLES, final, _HEAD) if final is not None else ()
    return {name: fits[name] for name in order if name in fits}


def _shown(record: Record) -> Counter[str]:
    """Numbers of images that C was shown, by kind."""
    shown = Counter[str]()
    for name, fit in _final_fits(record).items():
        for stream, images in fit["images"].items():
            shown[_kind(stream, name, record)] += images
    return shown


def _augmented(record: Record) -> list[tuple[str, AugmentationCount]] | None:
    """What was done to the images that C was shown, with their kind; None where it was not counted."""
    fits = _final_fits(record)
    if not fits or not all("augmented" in fit for fit in fits.values()):
        return None
    streams = ((name, stream, ones) for name, fit in fits.items() for stream, ones in fit["augmented"].items())
    found = [(_kind(stream, name, record), one) for name, stream, ones in streams for one in ones]
    return [(kind, {**one, "augmentation": with_defaults(one["augmentation"])}) for kind, one in found]


def _kind(stream: str, fit: str, record: Record) -> str:
    """The kind of images of a stream of C's fit."""
    strategy = record["config"].get("strategy") or {}
    pseudo_labels = _identifier(strategy.get("unlabelled") or {}).startswith("baseline/self_training@")
    if fit == _ON_SAMPLES or stream == "samples" or (stream == "extra" and not pseudo_labels):
        return "samples"
    named = {"labelled": "labelled images", "extra": "pseudo-labelled images", "fakes": "generated images"}
    return named.get(stream, "unlabelled images")


def labelled_augmentation(record: Record) -> str | None:
    """What changed the labelled images that C was shown: ``classic(rotate=10, flip=true)``; None: not counted."""
    if (augmented := _augmented(record)) is None:
        return None
    ones = [one for kind, one in augmented if kind == "labelled images" and one["images"]]
    return " and ".join(dict.fromkeys(_component_text(one["augmentation"]) for one in ones)) or "none"


def _component_text(node: Mapping[str, Any]) -> str:
    """``classic(rotate=15, cutout=2)``: a component and those of its settings that are not 0."""
    name = (_identifier(node) or str(node.get("_target_"))).removeprefix(_AUGMENTATION).partition("@")[0]
    settings = {key: value for key, value in flatten(node).items() if value and not key.endswith((_ID, "_target_"))}
    text = ", ".join(f"{key}={setting_text(value)}" for key, value in settings.items())
    return f"{name}({text})" if text else name


def _flat_text(node: Mapping[str, Any]) -> dict[str, str]:
    return {key: setting_text(value) for key, value in flatten(node).items()}


def table_differences(table: Table, column: str) -> list[AuditDifference]:
    """What differs between the rows of a column, by their first records: each against the reference and its baselines.

    Empty where nothing says which settings are the rows' own, as in a table of any records.
    """
    spec, rows = table.spec, {}
    for name, (given, declares) in spec.declared.items():
        cell = table.cells.get((name, column))
        if cell is not None and cell.records and EXTERNAL not in cell.stamps:
            first = cell.by_trial[min(cell.by_trial)][0]
            rows[name] = audited_row(first, name, given, declares)
    chosen = [(name, str(spec.reference)) for name in rows]
    if spec.family is not None:
        chosen += [(name, other) for name in spec.family.rows for other in spec.family.baselines]
    pairs = [(row, other) for row, other in dict.fromkeys(chosen) if row != other and {row, other} <= rows.keys()]
    return [one for row, other in pairs for one in compare_rows(rows[row], rows[other])]


def undeclared(differences: Iterable[AuditDifference]) -> list[AuditDifference]:
    """Those that the study does not declare."""
    return [one for one in differences if not one.declared]


def _components(node: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Recipes inside a node, and augmentations outside them, with their places."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _components(item, f"{place}.{number}")
    if not isinstance(node, Mapping):
        return
    if _identifier(node).startswith((_RECIPE, _AUGMENTATION)):
        yield place, node
        return
    for key, item in node.items():
        yield from _components(item, f"{place}.{key}")


def _identifier(node: Mapping[str, Any]) -> str:
    return str(node.get("_id_", ""))


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Settings with different values, by name; of components of different classes, the classes alone."""
    found: dict[str, tuple[str, str]] = {}
    for key in sorted(one.keys() | other.keys(), key=lambda key: (key.count("."), not key.endswith(_CLASS), key)):
        owner = key.partition(".")[0] + "."
        if not all(any(name.startswith(owner) for name in side) for side in (one, other)):
            continue  # what only one of the rows has
        values = one.get(key, "-"), other.get(key, "-")
        above = [known.removesuffix(_CLASS) for known in found if known.endswith(_CLASS)]
        if values[0] != values[1] and not any(key.startswith(f"{part}.") for part in above):
            found[key] = values
    return dict(sorted(found.items()))


def _is_named(key: str, named: Iterable[str], declares: Iterable[str]) -> bool:
    """Whether one of the names is the setting, a part of it, or (in the recipe) what it is a part of."""
    if any(_within(key, name) for name in declares):
        return True
    if not key.startswith("recipe."):
        tails = [name[name.index(owner) :] for name in named if (owner := key.partition(".")[0]) in name.split(".")]
        return any(_within(key, tail) or _within(tail, key) for tail in tails)
    own = key.removeprefix("recipe.")
    places = [key, own, f"data.suggested.{own}", *(["strategy.matched_flops"] if own == "steps" else [])]
    return any(_within(place, name) or _within(name, place) for place in places for name in named if name != "strategy")


def _name(setting: str) -> str:
    return setting.partition("=")[0].lstrip("+~").replace("/", ".")


def _within(key: str, parent: str) -> bool:
    return f"{key}.".startswith(f"{parent}.")
