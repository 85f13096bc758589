"""What differs in C's training between a row and the rows that it is compared with, and what the study declares."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trigan.records.config_keys import flatten
from trigan.records.record import EXTERNAL, Record, StageSummary
from trigan.tables.rows import setting_text
from trigan.tables.table import Table

#: Identifiers of what the audit looks for in a strategy; records name components by them.
_RECIPE, _AUGMENTATION = "recipe/recipe@", "augmentation/"
_CLASS = "._id_"
#: Parts of a strategy that train no C.
_OTHER_NETWORKS = ("strategy.gan.", "strategy.backbone.")
#: Parts of a recipe that do not change what is trained.
_WITHOUT_EFFECT = ("recipe.selection.snapshots",)
#: Counts that a strategy's own definition changes: they are printed, and never count as undeclared.
_BY_DEFINITION = (*(f"{kind} images shown to C" for kind in ("unlabelled", "generated", "extra")), "operations")
_STATISTICS, _LABELLED, _UPDATES = "images of C's batch-norm statistics", "labelled images shown to C", "updates of C"


@dataclass(frozen=True)
class AuditedRow:
    """A row as the audit reads it.

    Attributes:
        config: a resolved config with identifiers, as in a record.
        given: the row's own settings (``key=value``).
        declares: names of further settings or counts whose difference the study declares.
        counted: counts of a record; empty without one.
        unlabelled: number of unlabelled images that the row uses; None without a record.
    """

    name: str
    config: Mapping[str, Any] = field(repr=False)
    given: tuple[str, ...] = ()
    declares: tuple[str, ...] = ()
    counted: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int | None = None


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
    return AuditedRow(name, record["config"], given, declares, counts(record), unlabelled)


def compare_rows(row: AuditedRow, other: AuditedRow) -> list[AuditDifference]:
    """All differences in what touches C, undeclared ones first.

    A difference of a setting is declared if a setting that only one of the rows has names it (or the group or part of
    the recipe that it belongs to), or if a row's ``declares`` does. What only one of the rows has at all, such as the
    strong view of FixMatch, is its strategy's definition, which ``set`` names by the choice of the strategy.
    """
    named = {_name(text) for text in set(row.given) ^ set(other.given)}
    declares = {*row.declares, *other.declares}
    sides = settings_of_c(row.config), settings_of_c(other.config)
    found = [
        AuditDifference(row.name, other.name, key, *values, _is_named(key, named, declares))
        for key, values in _differing(*sides).items()
    ]
    length = any(_is_named(key, named, declares) for key in ("recipe.steps", "recipe.batch"))
    for key in sorted(row.counted.keys() & other.counted.keys()):
        if row.counted[key] != other.counted[key]:
            declared = key in _BY_DEFINITION or key in declares or (key in (_LABELLED, _UPDATES) and length)
            declared |= key == _STATISTICS and row.unlabelled != other.unlabelled
            found.append(AuditDifference(row.name, other.name, key, row.counted[key], other.counted[key], declared))
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
    """What was counted of C's training: of the last fit of C that the record's stages have."""
    found = {"operations": str(record["result"]["cost"]["flops"])}
    last = next((one["classifier"] for one in record["result"]["stages"] if _trains_final_classifier(one)), None)
    if last is not None:
        found |= {_STATISTICS: str(last["statistics"]), _UPDATES: str(last["updates"])}
        shown = {"labelled": 0, "unlabelled": 0, "generated": 0, "extra": 0}
        for stream, images in last["images"].items():
            kind = {"labelled": "labelled", "fakes": "generated", "extra": "extra"}.get(stream, "unlabelled")
            shown[kind] += images
        found |= {f"{kind} images shown to C": str(images) for kind, images in shown.items()}
    return found


def _trains_final_classifier(stage: StageSummary) -> bool:
    """A teacher and a supervised backbone train other classifiers than the row's."""
    return "classifier" in stage and stage.get("name") in ("classifier", "joint")


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
