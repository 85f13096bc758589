"""How often the trials of a study were looked at, and the level of each look: a sequential test by alpha spending."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trigan.atomic import write_text
from trigan.errors import ArtifactError
from trigan.tables.paired_comparison import LEVEL

#: Beside the study's table.
LOOKS_FILE = "looks.json"


def look_level(number: int) -> float:
    """The level of the k-th look, ``0.05 * 6 / (pi^2 k^2)``: 3.0 %, 0.76 %, 0.34 %, 0.19 %, ...

    The levels of all looks, without a limit on their number, add up to 5 %. By the union bound (Bonferroni), the
    probability of any false claim at any look is then at most 5 %, whatever the dependence of the looks and whenever
    somebody decides to look again. That is alpha spending (Lan and DeMets 1983) in its simplest form; O'Brien and
    Fleming's boundaries would spend less on the first look, but need the final number of trials beforehand.
    """
    return LEVEL * 6 / (math.pi * number) ** 2


@dataclass(frozen=True)
class Look:
    """A look at the trials of a study; without a number, looks are not counted, and this one has the whole level."""

    number: int | None = None

    @property
    def level(self) -> float:
        """The level at which claims are made."""
        return LEVEL if self.number is None else look_level(self.number)

    @property
    def next_level(self) -> float:
        """The level of the look after this one."""
        return LEVEL if self.number is None else look_level(self.number + 1)


def count_look(file: Path, trials: Sequence[int]) -> Look:
    """The look at exactly these trials: an earlier one if they were shown before, else a new one, kept in ``file``.

    Raises:
        ArtifactError: the file is damaged.
    """
    seen = read_looks(file)
    look = find_look(seen, trials)
    if look.number == len(seen) + 1:
        lines = ",\n".join(f'  {{"look": {k}, "trials": {one}}}' for k, one in enumerate([*seen, sorted(trials)], 1))
        write_text(file, f'{{"looks": [\n{lines}\n]}}\n')
    return look


def find_look(seen: Sequence[Sequence[int]], trials: Sequence[int]) -> Look:
    """The look at exactly these trials: the one of ``seen`` that was at them, or else the next."""
    known = [list(one) for one in seen]
    return Look(1 + (known.index(sorted(trials)) if sorted(trials) in known else len(known)))


def read_looks(file: Path) -> list[list[int]]:
    """The trials of each look so far, in a file of `count_look`; none without a file.

    Raises:
        ArtifactError: the file is damaged.
    """
    if not file.is_file():
        return []
    try:
        return [sorted(map(int, one["trials"])) for one in json.loads(file.read_text())["looks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{file}: not a list of looks ({error}): restore it from a copy, or start it anew"
        ) from error
