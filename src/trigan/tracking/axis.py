"""One axis for all curves of a run: images seen, summed over its stages."""

import json
import os
from pathlib import Path


class ImageAxis:
    """Maps (stage, images the stage has seen) to the run's own count, which never goes back.

    The count is the sum over the stages of the most that each has seen, so it goes on where the stage before ended,
    in whatever order stages talk. It is kept in a file: a run that is started again goes on counting, and what it
    repeats since its last checkpoint is known to be there already.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._seen = {str(stage): int(images) for stage, images in json.loads(path.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._seen = {}  # a first start; or a torn file after a power cut, which costs doubled points only
        self._before = dict(self._seen)

    @property
    def now(self) -> int:
        """The run's images so far."""
        return sum(self._seen.values())

    def knows(self, stage: str) -> bool:
        """Whether the stage has logged before."""
        return stage in self._seen

    def advance(self, stage: str, images: int) -> int | None:
        """The run's count after ``stage`` has seen ``images``; ``None`` if an earlier process logged that already."""
        if images < self._before.get(stage, 0):
            return None
        if images > self._seen.get(stage, -1):
            self._seen[stage] = images
            temporary = self._path.with_name(f".{self._path.name}.partial")
            temporary.write_text(json.dumps(self._seen))
            os.replace(temporary, self._path)
        return self.now
