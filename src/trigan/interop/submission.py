"""What a program states about itself when it submits predictions: a JSON file beside them (docs/submit.md)."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from trigan.errors import ConfigError
from trigan.studies.file_model import FileModel, read_file

_Count = Annotated[int, Field(ge=0)]
_Counted = Annotated[int, Field(gt=0)]
_UNKNOWN = "a whole number above 0; leave it out, or say null, where it is unknown"


class DataUsedSchema(FileModel):
    """How many images a method used."""

    L: _Count
    U: _Count
    V: _Count
    X: _Count


class CostSchema(FileModel):
    """Counted cost of a whole method; None: unknown."""

    flops: _Counted | None = Field(default=None, description=_UNKNOWN)
    images: Annotated[dict[str, _Counted], Field(min_length=1)] | None = Field(
        default=None, description=f"images by player, each {_UNKNOWN}"
    )


class Submission(FileModel):
    """The content of the file.

    Attributes:
        split: the split that the method was trained on: its file, or its digest.
        rule: ``val`` if the weights were chosen on validation labels, else ``last``.
    """

    method: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="the method's name"
    )
    url: str | None = Field(default=None, description="a text, or null")
    split: str = Field(description="the split file's path, or its digest")
    trial: _Count = Field(description="a whole number, 0 or more")
    seed: _Count = Field(default_factory=lambda data: data.get("trial", 0), description="a whole number, 0 or more")
    data_used: DataUsedSchema = Field(description="counts of images for L, U, V, X")
    rule: Literal["last", "val"] = Field(
        default_factory=lambda data: "val" if "data_used" in data and data["data_used"].V else "last",
        description="last, or val beside a V above 0",
    )
    cost: CostSchema = Field(
        default=CostSchema(), description="flops and images (by player); leave it out where it is unknown"
    )

    @model_validator(mode="after")
    def _val_needs_labels(self) -> Self:
        if self.rule == "val" and not self.data_used.V:
            raise ValueError("rule=val: expected last, or val beside a V above 0")
        return self


def read_submission(path: Path) -> Submission:
    """Read and check the file; its ``split`` is a digest then.

    Raises:
        ConfigError: one line that names the file, the key and what is wrong with it.
    """
    if not path.exists():
        raise ConfigError(f"{path} is missing; it states what the method used (docs/submit.md)")
    submission = read_file(Submission, path, json.loads)
    if re.fullmatch("[0-9a-f]{64}", submission.split):
        return submission
    from trigan.datasets.splits.split_file import read_split_file

    file = read_split_file(path.parent / Path(submission.split).expanduser())
    return submission.model_copy(update={"split": file.digest})
