"""The x-axis of a run: images over all its stages, and which points a remote service has already."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from trigan.atomic import write_text


class ImageAxis:
    """Maps (stage, the stage's images) to the run's total, which never decreases.

    The total is the sum over stages of each stage's maximum, whatever the order in which stages log. A JSON file keeps
    these maxima and the keys logged at each: a restarted run continues the count, and recognises the points between its
    last checkpoint and the crash as already logged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stages: dict[str, tuple[int, set[str]]] = {}
        with suppress(OSError, ValueError, AttributeError, TypeError):  # no file yet; a damaged one only doubles points
            saved = json.loads(path.read_text()).items()
            self._stages = {str(stage): (int(images), set(map(str, keys))) for stage, (images, keys) in saved}
        self._earlier = dict(self._stages)

    @property
    def now(self) -> int:
        """The run's images so far."""
        return sum(images for images, _ in self._stages.values())

    def has_logged(self, stage: str) -> bool:
        """Whether the stage has logged before, in this process or an earlier one."""
        return stage in self._stages

    def advance(self, stage: str, images: int, keys: Iterable[str]) -> int | None:
        """Register that ``keys`` are logged after ``stage`` has used ``images`` images.

        Returns:
            The run's total, or None if an earlier process has logged this point. At the last point of that process
            this depends on the keys, since it may have logged only some of them.
        """
        new = set(keys)
        end, logged = self._earlier.get(stage, (-1, set()))
        if images < end or (images == end and new <= logged):
            return None
        last, kept = self._stages.get(stage, (-1, set()))
        if images >= last:
            self._stages[stage] = (images, new if images > last else kept | new)
            saved = {name: [count, sorted(k)] for name, (count, k) in self._stages.items()}
            write_text(self._path, json.dumps(saved))
        return self.now
