"""One axis for all curves of a run: images seen, summed over its stages."""

import json
import os
from collections.abc import Iterable
from pathlib import Path


class ImageAxis:
    """Maps (stage, images the stage has seen) to the run's own count, which never goes back.

    The count is the sum over the stages of the most that each has seen, so it goes on where the stage before ended,
    in whatever order stages talk. It is kept in a file, with the names of what was logged at each stage's end: a run
    that is started again goes on counting, and what it repeats since its last checkpoint is known to be there already.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, int] = {}
        self._told: dict[str, set[str]] = {}
        try:
            for stage, (images, names) in json.loads(path.read_text()).items():
                self._seen[str(stage)], self._told[str(stage)] = int(images), {str(name) for name in names}
        except (OSError, ValueError, AttributeError, TypeError):
            # a first start; or a torn file after a power cut, which costs doubled points only
            self._seen, self._told = {}, {}
        self._before = {stage: (self._seen[stage], frozenset(self._told[stage])) for stage in self._seen}

    @property
    def now(self) -> int:
        """The run's images so far."""
        return sum(self._seen.values())

    def has_logged(self, stage: str) -> bool:
        """Whether the stage has logged before."""
        return stage in self._seen

    def advance(self, stage: str, images: int, names: Iterable[str]) -> int | None:
        """The run's count after ``stage`` has seen ``images``; ``None`` if an earlier process logged that already.

        ``names``: what is logged now. At the very point where the earlier process ended, it may have logged a part.
        """
        given = set(names)
        ended, told = self._before.get(stage, (-1, frozenset()))
        if images < ended or (images == ended and given <= told):
            return None
        last = self._seen.get(stage, -1)
        if images >= last:
            self._seen[stage] = images
            self._told[stage] = given if images > last else self._told[stage] | given
            temporary = self._path.with_name(f".{self._path.name}.partial")
            temporary.write_text(json.dumps({key: [self._seen[key], sorted(self._told[key])] for key in self._seen}))
            os.replace(temporary, self._path)
        return self.now
