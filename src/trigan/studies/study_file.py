"""A study: ``experiments/NAME/study.yaml``, one table's claim, grid and scales."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from trigan.config import locations
from trigan.config.settings_file import check_settings
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.studies.file_model import FileModel, FolderName, ListOf, Name, Settings, Text, read_file

FILE = "study.yaml"
#: ``match: family`` stands for the names of all rows of the family.
FAMILY = "family"
#: The most trials of a study.
MAX_TRIALS = 10_000


def _different(trials: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(trials)) < len(trials):
        raise ValueError
    return trials


def _metric(value: str) -> str:
    from trigan.scores import TABLE_METRICS

    if value not in TABLE_METRICS:
        raise ValueError(
            f"{value}: no such metric{nearest_hint(value, TABLE_METRICS)}; metrics: {', '.join(TABLE_METRICS)}"
        )
    return value


def _known_match(value: Any) -> Any:
    if value == "most_expensive":
        raise ValueError(
            "most_expensive is no longer a match: it gave a baseline the compute of a row that it is not compared with"
            "; write match: ROW, match: [ROW, ...] or match: family"
        )
    return value


_Trials = Annotated[
    ListOf[Annotated[int, Field(ge=0)]],
    BeforeValidator(
        lambda value: tuple(range(min(value, MAX_TRIALS + 1))) if type(value) is int else value,
        json_schema_input_type=Annotated[int, Field(ge=1)] | tuple[int, ...],
    ),
    AfterValidator(_different),
    Field(
        min_length=1, max_length=MAX_TRIALS, description="how many (an int in 1..10000), or a list of different numbers"
    ),
]


class _StudyPart(FileModel):
    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, content: Any) -> Any:
        if isinstance(content, dict):
            return {key: value for key, value in content.items() if value is not None}
        return content


class GridEntry(_StudyPart):
    """A row or column: its overrides.

    With ``match: ROW`` the row is given that row's compute. With a list of rows, or ``family`` for all rows of the
    family, the entry stands for one matched row for each of them.

    ``declares`` names further differences in C's training that the row is meant to have (`trigan audit`).
    """

    name: Name = Field(description="a name")
    set: Settings = ()
    match: Annotated[Text | Annotated[ListOf[Text], Field(min_length=1)] | None, BeforeValidator(_known_match)] = Field(
        default=None, description="the name of a row, a list of names of rows, or family"
    )

    declares: ListOf[Text] = Field(default=(), description="a list of names of settings or counts")

    @property
    def given(self) -> tuple[str, ...]:
        """The row's own settings, with the matched compute that its jobs are given."""
        return (*self.set, *(("strategy.matched_flops=",) if self.match else ()))

    def expanded(self, family: tuple[str, ...]) -> tuple["GridEntry", ...]:
        """The rows that the entry stands for, each with the name of at most one row in ``match``."""
        if self.match is None or (isinstance(self.match, str) and self.match != FAMILY):
            return (self,)
        name = self.name.removesuffix(", matched")
        return tuple(
            self.model_copy(update={"name": f"{name}, matched to {row}", "match": row})
            for row in (family if self.match == FAMILY else self.match)
        )


class ScaleEntry(_StudyPart):
    """A row or column of a scale: its name, and overrides that the scale adds to those of the row or column."""

    name: Name = Field(description="a name")
    set: Settings = ()


_Entries = Annotated[
    ListOf[
        Annotated[
            ScaleEntry,
            BeforeValidator(
                lambda value: {"name": value} if isinstance(value, str | int | float) else value,
                json_schema_input_type=str | ScaleEntry,
            ),
        ]
    ],
    Field(min_length=1),
]


class StudyScale(_StudyPart):
    """A scale: overrides of every job, and what differs from the rest of the file; rows and columns by name."""

    set: Settings = ()
    trials: _Trials | None = None
    cost: Text | None = None
    rows: _Entries | None = Field(default=None, description="a list of names of rows, or entries with `name` and `set`")
    columns: _Entries | None = Field(
        default=None, description="a list of names of columns, or entries with `name` and `set`"
    )


class _Family(_StudyPart):
    rows: ListOf[Text]
    baselines: ListOf[Text]


class _AblationStep(_StudyPart):
    adds: Text
    start: Text = Field(alias="from")


class StudySchema(_StudyPart):
    """The content of ``study.yaml``; docs/extending.md explains the keys."""

    title: Text = ""
    claim: Text = ""
    question: Text = ""
    command: Text = ""
    cost: Text = Field(default="", description="time and hardware")
    expected: Text = ""
    trials: _Trials = (0, 1, 2)
    fixed: Settings = ()
    rows: ListOf[GridEntry] = Field(min_length=1, description="a list of entries with `name` and `set`")
    columns: ListOf[GridEntry] = Field(default=(), description="a list of entries with `name` and `set`")
    reference: Text | None = Field(default=None, description="the name of the row that differences are taken to")
    family: _Family | None = Field(default=None, description="`rows: [...]` and `baselines: [...]`")
    margin: float = Field(default=0.5, gt=0, description="a number of points above 0")
    metric: Annotated[Text, AfterValidator(_metric)] = "accuracy"
    strict: bool = Field(default=False, description="true or false")
    quality: bool = Field(default=False, description="true or false")
    ablations: dict[Text, ListOf[_AblationStep]] = Field(
        default={}, description="rows, each with a list of `adds: what` and `from: row`"
    )
    scales: dict[FolderName, StudyScale] = Field(
        default={}, description="names, each with `set: [settings]` and what else differs"
    )

    @property
    def row_groups(self) -> dict[str, tuple[GridEntry, ...]]:
        """The rows of each entry of ``rows``, by the entry's name."""
        family = self.family.rows if self.family else ()
        return {entry.name: entry.expanded(family) for entry in self.rows}

    def row_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names with those of entries that stand for several rows replaced by the rows' own."""
        groups = self.row_groups
        return tuple(
            row for name in names for row in ([one.name for one in groups[name]] if name in groups else [name])
        )

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        rows = [row.name for group in self.row_groups.values() for row in group]
        columns = [entry.name for entry in self.columns]
        for kind, names in (("rows", rows), ("columns", columns)):
            if len(set(names)) < len(names) or len(self.row_groups) < len(self.rows):
                raise ValueError(f"{kind}: two have the same name")
            known = [*names, *(self.row_groups if kind == "rows" else ())]
            for scale, part in self.scales.items():
                for entry in getattr(part, kind) or ():
                    if entry.name not in known:
                        hint = nearest_hint(entry.name, known)
                        raise ValueError(f"scales.{scale}.{kind}: {entry.name!r} is none{hint}")
        family = (*self.family.rows, *self.row_names(self.family.baselines)) if self.family else ()
        steps = [name for row, steps in self.ablations.items() for name in (row, *(step.start for step in steps))]
        for name in (*([self.reference] if self.reference is not None else []), *family, *steps):
            if name not in rows:
                raise ValueError(f"{name!r} is no row{nearest_hint(name, rows)}")
        self._matches_exist(rows)
        if self.quality and self.reference is None:
            raise ValueError("quality=true: gains are differences to the reference; name a row as `reference`")
        return self

    def _matches_exist(self, rows: list[str]) -> None:
        if any(column.match for column in self.columns):
            raise ValueError("columns: match: no such key; only a row is given the compute of another")
        matched = {row.name: str(row.match) for group in self.row_groups.values() for row in group if row.match}
        for entry in self.rows:
            if entry.match == FAMILY and self.family is None:
                raise ValueError(f"rows.{entry.name}.match=family: the study has no family; name the rows instead")
        for name, target in matched.items():
            if target not in rows:
                raise ValueError(f"rows.{name}.match: {target!r} is no row{nearest_hint(target, rows)}")
            if target in matched:
                raise ValueError(f"rows.{name}.match: {target!r} has matched compute itself; name an ordinary row")


class StudyFile(StudySchema):
    """A study at one scale: rows, columns, trials and cost are the scale's, and ``fixed`` includes its settings.

    Attributes:
        file: what was read; published figures lie beside it.
        scale: chosen scale; None where the study has none.
        names: of all rows and all columns, those of other scales too.
        tuning_trials: search trials that every row had; 0 for none.
        tuned: row -> column -> the settings that its search has chosen.
    """

    file: Path
    name: str
    scale: str | None
    names: tuple[tuple[str, ...], tuple[str, ...]]
    tuning_trials: int = 0
    tuned: Mapping[str, Mapping[str, tuple[str, ...]]] = {}

    def with_tuned(self, trials: int, tuned: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Self:
        """The study with the settings that searches of so many trials have chosen."""
        return self.model_copy(update={"tuning_trials": trials, "tuned": tuned})

    def with_rows(self, rows: tuple[GridEntry, ...]) -> Self:
        """The study with these rows, and the comparisons and ablations whose rows are all among them."""
        names, family = {row.name for row in rows}, None
        if self.family is not None:
            parts = {key: tuple(name for name in kept if name in names) for key, kept in self.family}
            family = self.family.model_copy(update=parts) if all(parts.values()) else None
        ablations = {
            row: steps for row, steps in self.ablations.items() if names >= {row, *(step.start for step in steps)}
        }
        return self.model_copy(update={"rows": rows, "family": family, "ablations": ablations})

    def column(self, name: str | None) -> str:
        """The column of that name; without a name, the only one. A ConfigError if that is no column."""
        names = [column.name for column in self.columns]
        if name is None and len(names) == 1:
            return names[0]
        if name not in names:
            given = f"{name}: no such column{nearest_hint(name, names)}" if name else "not given"
            raise ConfigError(f"--column {given}; columns of study {self.name}: {', '.join(names)}")
        return name


def find_study(name: str) -> Path:
    """The file of a study: a path, ``./experiments/NAME`` or one that comes with trigan; a ConfigError without one."""
    folders = [Path("experiments"), locations.experiments()]
    for candidate in (Path(name), Path(name) / FILE, *(folder / name / FILE for folder in folders)):
        if candidate.is_file():
            return candidate
    known = sorted({path.parent.name for folder in folders for path in folder.glob(f"*/{FILE}")})
    raise ConfigError(f"{name}: no such study{nearest_hint(name, known)}; studies: {', '.join(known) or 'none'}")


def read_study(path: Path, scale: str | None = None) -> StudyFile:
    """Read and check a study at a scale (the first one by default); a ConfigError names what is wrong with it."""
    content = read_file(StudySchema, path)
    if scale is None:
        scale = next(iter(content.scales), None)
    elif scale not in content.scales:
        known = ", ".join(content.scales) or "none"
        raise ConfigError(f"--scale {scale}: no such scale{nearest_hint(scale, content.scales)}; scales: {known}")
    part = content.scales[scale] if scale is not None else StudyScale()
    every = tuple(row for group in content.row_groups.values() for row in group)
    rows, columns = _rows_at(content, scale, part, path), content.columns or (GridEntry(name="all"),)
    if content.reference is not None and content.reference not in [row.name for row in rows]:
        raise ConfigError(f"{path}: scales.{scale}.rows: lacks the reference, {content.reference!r}")
    name, family = path.resolve().parent.name, content.family
    try:
        check_settings([f"study={name}"])
    except ValueError as error:
        raise ConfigError(f"{path}: the study has its folder's name: {error}") from error
    resolved = {
        "file": path,
        "name": name,
        "scale": scale,
        "names": (tuple(row.name for row in every), tuple(column.name for column in columns)),
        "title": content.title or name,
        "cost": content.cost if part.cost is None else part.cost,
        "trials": content.trials if part.trials is None else part.trials,
        "fixed": (*content.fixed, *part.set),
        "family": family and family.model_copy(update={"baselines": content.row_names(family.baselines)}),
        "columns": _at_scale(columns, part.columns),
    }
    return StudyFile.model_construct(**(dict(content) | resolved | {"tuning_trials": 0, "tuned": {}})).with_rows(rows)


def _at_scale(entries: tuple[GridEntry, ...], chosen: tuple[ScaleEntry, ...] | None) -> tuple[GridEntry, ...]:
    """The entries that a scale names (all of them with None), with the overrides that it adds."""
    if chosen is None:
        return entries
    added = {entry.name: entry.set for entry in chosen}
    return tuple(
        entry.model_copy(update={"set": (*entry.set, *added[entry.name])}) for entry in entries if entry.name in added
    )


def _rows_at(content: StudySchema, scale: str | None, part: StudyScale, path: Path) -> tuple[GridEntry, ...]:
    """The rows of a scale; an entry that stands for several matched rows has those whose row the scale has."""
    groups = content.row_groups
    named = content.row_names(tuple(groups) if part.rows is None else [entry.name for entry in part.rows])
    chosen = []
    for entry in _at_scale(content.rows, None if part.rows is None else _of_entries(part.rows, groups)):
        for row in (row for row in groups[entry.name] if row.name in named):
            if row.match is None or row.match in named:
                chosen.append(row.model_copy(update={"set": entry.set}))
            elif row.name in groups:
                raise ConfigError(
                    f"{path}: scales.{scale}.rows: lacks {row.match!r}, whose compute {row.name!r} is given"
                )
    return tuple(chosen)


def _of_entries(chosen: tuple[ScaleEntry, ...], groups: dict[str, tuple[GridEntry, ...]]) -> tuple[ScaleEntry, ...]:
    """The scale's rows by the names of the entries that they belong to."""
    owner = {row.name: name for name, group in groups.items() for row in group}
    return tuple(entry.model_copy(update={"name": owner.get(entry.name, entry.name)}) for entry in chosen)
