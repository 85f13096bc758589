"""A study: ``experiments/NAME/study.yaml``, one table's claim, grid and scales."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from trigan.config import locations
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

FILE = "study.yaml"


@dataclass(frozen=True)
class GridEntry:
    """A row or column: its name and the overrides that make it; ``match``: given the compute of the most expensive row."""

    name: str
    set: tuple[str, ...]
    match: Literal["most_expensive"] | None = None


@dataclass(frozen=True)
class About:
    """What a study says of itself to people; ``cost`` is time and hardware."""

    claim: str
    question: str
    command: str
    cost: str
    expected: str


@dataclass(frozen=True)
class Analysis:
    """How a study's table is read.

    Attributes:
        reference: the row that differences are taken to.
        family: primary comparisons, (rows, baselines), or None.
        margin: of the table's dagger, in points.
        metric: what the table shows, as in a record's ``result.test``.
        ablations: for a row, (what is added, the row that this step starts from), step by step up to the row itself.
    """

    reference: str | None
    family: tuple[tuple[str, ...], tuple[str, ...]] | None
    margin: float
    metric: str
    ablations: Mapping[str, tuple[tuple[str, str], ...]]

    def of(self, rows: Collection[str]) -> "Analysis":
        """What of it holds for a scale with these rows: comparisons and ablations that are still whole."""
        family, ablations = self.family, self.ablations
        if family is not None:
            first, second = (tuple(name for name in names if name in rows) for names in family)
            family = (first, second) if first and second else None
        whole = {
            row: steps
            for row, steps in ablations.items()
            if all(name in rows for name in (row, *(s for _, s in steps)))
        }
        return dataclasses.replace(self, family=family, ablations=whole)


@dataclass(frozen=True)
class StudyFile:
    """What ``study.yaml`` says, at one scale.

    Attributes:
        file: what was read; published figures lie beside it.
        scale: chosen scale; None where the study has none.
        names: of all rows and all columns, those of other scales too.
        fixed: overrides of every job, those of the scale included.
    """

    file: Path
    name: str
    title: str
    about: About
    trials: tuple[int, ...]
    fixed: tuple[str, ...]
    columns: tuple[GridEntry, ...]
    rows: tuple[GridEntry, ...]
    analysis: Analysis
    scale: str | None
    names: tuple[tuple[str, ...], tuple[str, ...]]

    def column(self, wanted: str | None) -> str:
        """The column of that name; of a study with a single one, that.

        Raises:
            ConfigError: there is no such column, or none is named and there are several.
        """
        names = [column.name for column in self.columns]
        if wanted is None and len(names) == 1:
            return names[0]
        if wanted not in names:
            given = f"{wanted}: no such column{nearest_hint(wanted, names)}" if wanted else "not given"
            raise ConfigError(f"--column {given}; columns of study {self.name}: {', '.join(names)}")
        return wanted


_KEYS = {
    *("title", "claim", "question", "trials", "fixed", "columns", "rows", "reference", "family", "margin", "scales"),
    *("ablations", "metric", "command", "cost", "expected"),
}


#: What a scale may say: overrides of every job, and the rest where it differs; rows and columns by name.
_IN_SCALE = ("set", "trials", "cost", "columns", "rows")


def find_study(name: str) -> Path:
    """The file of a study: a path, ``./experiments/NAME`` or one that comes with trigan.

    Raises:
        ConfigError: there is none, with the nearest name.
    """
    for candidate in (Path(name), Path(name) / FILE):
        if candidate.is_file():
            return candidate
    folders = [Path("experiments"), locations.experiments()]
    for folder in folders:
        if (folder / name / FILE).is_file():
            return folder / name / FILE
    known = sorted({path.parent.name for folder in folders for path in folder.glob(f"*/{FILE}")})
    raise ConfigError(f"{name}: no such study{nearest_hint(name, known)}; studies: {', '.join(known) or 'none'}")


def read_study(path: Path, scale: str | None = None) -> StudyFile:
    """Read and check a study at a scale (the first one by default).

    Raises:
        ConfigError: one line that names the file and what is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with title, columns and rows")
    for key in content:
        if key not in _KEYS:
            raise ConfigError(f"{path}: {key}: no such key{nearest_hint(str(key), _KEYS)}")
    chosen, settings = _scale(path, content.get("scales"), scale)
    merged = {**content, **{key: value for key, value in settings.items() if key in ("trials", "cost")}}
    study = StudyFile(
        file=path,
        name=path.resolve().parent.name,
        title=str(content.get("title", path.resolve().parent.name)),
        about=About(*(str(merged.get(key, "")) for key in ("claim", "question", "command", "cost", "expected"))),
        trials=_trials(path, merged.get("trials", 3)),
        fixed=(*_overrides(path, "fixed", content.get("fixed")), *_overrides(path, "scales", settings.get("set"))),
        columns=_some(path, "columns", content, settings),
        rows=_some(path, "rows", content, settings),
        analysis=Analysis(
            None if content.get("reference") is None else str(content["reference"]),
            _family(path, content.get("family")),
            _margin(path, content.get("margin", 0.5)),
            _metric(path, str(content.get("metric", "accuracy"))),
            _chains(path, content.get("ablations")),
        ),
        scale=chosen,
        names=(_names(path, "rows", content), _names(path, "columns", content)),
    )
    _check_names(path, study)
    return dataclasses.replace(study, analysis=study.analysis.of([row.name for row in study.rows]))


def _check_names(path: Path, study: StudyFile) -> None:
    rows, analysis = study.names[0], study.analysis
    for kind, names in (("rows", rows), ("columns", study.names[1])):
        if len(set(names)) != len(names):
            raise ConfigError(f"{path}: {kind}: two have the same name")
    named = (
        *((analysis.reference,) if analysis.reference else ()),
        *(analysis.family[0] + analysis.family[1] if analysis.family else ()),
        *(name for row, steps in analysis.ablations.items() for name in (row, *(start for _, start in steps))),
    )
    for name in named:
        if name not in rows:
            raise ConfigError(f"{path}: {name!r} is no row{nearest_hint(name, rows)}")
    if analysis.reference and analysis.reference not in [row.name for row in study.rows]:
        raise ConfigError(f"{path}: scales.{study.scale}.rows: lacks the reference, {analysis.reference!r}")
    if all(row.match for row in study.rows):
        raise ConfigError(f"{path}: every row has match, so there is no row to match")


def _scale(path: Path, scales: Any, wanted: str | None) -> tuple[str | None, dict[str, Any]]:
    scales = scales or {}
    if not isinstance(scales, dict) or not all(isinstance(value, dict) for value in scales.values()):
        raise ConfigError(f"{path}: scales: expected names, each with `set: [overrides]` and what else differs")
    for name, value in scales.items():
        for key in value:
            if key not in _IN_SCALE:
                raise ConfigError(f"{path}: scales.{name}.{key}: no such key; keys: {', '.join(_IN_SCALE)}")
    if wanted is None:
        wanted = next(iter(scales), None)
    elif wanted not in scales:
        raise ConfigError(
            f"--scale {wanted}: no such scale{nearest_hint(wanted, scales)}; scales: {', '.join(scales) or 'none'}"
        )
    return wanted, scales.get(wanted, {}) if wanted else {}


def _margin(path: Path, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    raise ConfigError(f"{path}: margin={value}: expected a number of points above 0")


def _metric(path: Path, value: str) -> str:
    from trigan.tables.cell import METRICS

    if value in METRICS:
        return value
    raise ConfigError(
        f"{path}: metric={value}: no such metric{nearest_hint(value, METRICS)}; metrics: {', '.join(METRICS)}"
    )


def _trials(path: Path, value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return tuple(range(value))
    numbers = isinstance(value, list) and value and all(isinstance(trial, int) and trial >= 0 for trial in value)
    if numbers and len(set(value)) == len(value):
        return tuple(value)
    raise ConfigError(f"{path}: trials={value}: expected how many (an int >= 1), or a list of different numbers")


def _overrides(path: Path, where: str, value: Any) -> tuple[str, ...]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(item, str) and "=" in item for item in value):
        raise ConfigError(f"{path}: {where}: expected a list of overrides, each written key=value")
    for item in value:
        if item.startswith("runtime.allow"):
            raise ConfigError(f"{path}: {where}: {item}: runtime.allow may be given on the command line only")
    return tuple(value)


def _lines(path: Path, kind: str, value: Any) -> tuple[GridEntry, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) and "name" in item for item in value):
        raise ConfigError(f"{path}: {kind}: expected a list of entries with `name` and `set`")
    known = [field.name for field in dataclasses.fields(GridEntry)]
    for item in value:
        for key in item:
            if key not in known or (key == "match" and kind == "columns"):
                raise ConfigError(f"{path}: {kind}: {item['name']}: {key}: no such key{nearest_hint(key, known)}")
        if item.get("match") not in (None, "most_expensive"):
            raise ConfigError(f"{path}: {kind}: {item['name']}: match={item['match']}: expected most_expensive")
    return tuple(
        GridEntry(str(i["name"]), _overrides(path, f"{kind}: {i['name']}", i.get("set")), i.get("match")) for i in value
    )


def _names(path: Path, kind: str, content: dict[str, Any]) -> tuple[str, ...]:
    return tuple(line.name for line in _some(path, kind, content, {}))


def _some(path: Path, kind: str, content: dict[str, Any], scale: dict[str, Any]) -> tuple[GridEntry, ...]:
    """All rows or columns, or those that the scale names, in the file's order."""
    value = content.get(kind) or ([{"name": "all", "set": []}] if kind == "columns" else None)
    lines = _lines(path, kind, value)
    wanted = scale.get(kind)
    if wanted is None:
        return lines
    names = [line.name for line in lines]
    if not isinstance(wanted, list) or not wanted:
        raise ConfigError(f"{path}: scales: {kind}: expected a list of names of {kind}")
    for name in wanted:
        if name not in names:
            raise ConfigError(f"{path}: scales: {kind}: {name!r} is none{nearest_hint(str(name), names)}")
    return tuple(line for line in lines if line.name in wanted)


def _chains(path: Path, value: Any) -> dict[str, tuple[tuple[str, str], ...]]:
    value = {} if value is None else value
    steps = [step for chain in value.values() for step in chain] if isinstance(value, dict) else [None]
    if not all(isinstance(step, dict) and set(step) == {"adds", "from"} for step in steps):
        raise ConfigError(f"{path}: ablations: expected rows, each with a list of `adds: what` and `from: row`")
    return {str(row): tuple((str(step["adds"]), str(step["from"])) for step in chain) for row, chain in value.items()}


def _family(path: Path, value: Any) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"rows", "baselines"}:
        raise ConfigError(f"{path}: family: expected `rows: [...]` and `baselines: [...]`")
    return tuple(map(str, value["rows"])), tuple(map(str, value["baselines"]))
