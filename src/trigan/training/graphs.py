"""Training steps as CUDA graphs: each pattern of steps is captured once, and then replayed without work on the host.

A step's number lives on the device. What depends on it is computed for a chunk of steps at once, as tables, of which a
cursor selects the row of the present step; each step moves the cursor on. Steps that do different things, such as those
in which a lazy penalty is due, have graphs of their own.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from trigan.errors import ConfigError
from trigan.rng import DeviceStep

V = TypeVar("V")

#: Runs the code of a step, whose number is on the device.
StepCode = Callable[[DeviceStep], None]


class _Table:
    """Values of a chunk of steps, (capacity, m), on the device; ``fill`` gives those of consecutive steps, (n, m)."""

    def __init__(self, fill: Callable[[range], Tensor], steps: range, capacity: int, device: torch.device) -> None:
        rows = fill(steps)
        self._fill = fill
        self.values = torch.zeros(capacity, rows.shape[1], dtype=rows.dtype, device=device)
        self._store(rows)

    def load(self, steps: range) -> None:
        """The values of other steps."""
        self._store(self._fill(steps))

    def _store(self, rows: Tensor) -> None:
        if rows.device != self.values.device:
            rows = rows.pin_memory()  # the copy then waits for the replays before it, and the host for neither
        self.values[: len(rows)].copy_(rows, non_blocking=True)


class StepValues(DeviceStep):
    """The values that steps of one pattern ask for, in the order in which the first run of their code asked."""

    def __init__(self, cursor: Tensor, dtype: torch.dtype, capacity: int) -> None:
        self._cursor, self._dtype, self._capacity = cursor, dtype, capacity
        self._steps, self._index = range(0), 0
        self._tables: list[_Table] = []
        self._decisions: list[tuple[Callable[[int], Any], Any]] = []
        self._recorded = False
        self._asked = self._decided = 0
        self._number: Tensor | None = None

    def load(self, steps: range) -> None:
        """Take the values of a chunk of steps."""
        self._steps = steps
        for table in self._tables:
            table.load(steps)

    def fits(self, index: int) -> bool:
        """Whether step ``index`` does what the recorded step did."""
        return all(function(index) == value for function, value in self._decisions)

    @contextmanager
    def run(self, index: int) -> Iterator[None]:
        """Around a run of the code of step ``index``, one of the chunk."""
        self._index, self._asked, self._decided, self._number = index, 0, 0, None
        yield
        asked = (self._asked, self._decided)
        if self._recorded and asked != (len(self._tables), len(self._decisions)):
            raise RuntimeError(f"a step asked for {asked} values, its first run for others")
        self._recorded = True
        self._cursor.add_(1)

    @property
    def number(self) -> Tensor:
        """See `DeviceStep`."""
        if self._number is None:
            self._number = self.integer(lambda step: step)
        return self._number

    def real(self, function: Callable[[int], float]) -> Tensor:
        """See `DeviceStep`."""

        def fill(steps: range) -> Tensor:
            return torch.tensor([[function(step)] for step in steps], dtype=self._dtype)

        return self._row(fill)[0]

    def integer(self, function: Callable[[int], int]) -> Tensor:
        """See `DeviceStep`."""
        return self._row(lambda steps: torch.tensor([[function(step)] for step in steps]))

    def rows(self, function: Callable[[range], Tensor]) -> Tensor:
        """See `DeviceStep`."""
        return self._row(function)

    def decided(self, function: Callable[[int], V]) -> V:
        """See `DeviceStep`."""
        value = function(self._index)
        if not self._recorded:
            self._decisions.append((function, value))
        self._decided += 1
        return value

    def _row(self, fill: Callable[[range], Tensor]) -> Tensor:
        if not self._recorded:
            self._tables.append(_Table(fill, self._steps, self._capacity, self._cursor.device))
        elif self._asked >= len(self._tables):
            raise RuntimeError("a step asked for more values than its first run")
        self._asked += 1
        return self._tables[self._asked - 1].values.index_select(0, self._cursor)[0]


@dataclass
class _Pattern:
    """Steps with the same operations; ``counted``: what one of them adds to each of the fit's counters."""

    values: StepValues
    graph: Any = None
    counted: tuple[dict[str, int], ...] = field(default=())


class StepGraphs:
    """Runs steps by patterns: the first step of a pattern as it is, the second is captured, all others are replayed.

    Args:
        device: of the fit.
        dtype: of the weights.
        capacity: the longest chunk.
        counters: the fit's counters on the host, which a replay must raise, too.
        capture: whether graphs are captured; without it, which needs no GPU, every step runs as the first one does.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        capacity: int,
        counters: Callable[[], tuple[dict[str, int], ...]],
        capture: bool = True,
    ) -> None:
        self._dtype, self._capacity, self._counters, self._capture = dtype, capacity, counters, capture
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._patterns: dict[Hashable, list[_Pattern]] = {}
        self._steps = range(0)
        self._stream = torch.cuda.Stream(device) if capture else None  # type: ignore[no-untyped-call]
        self._pool: Any = None

    def __len__(self) -> int:
        """Graphs that were captured."""
        return sum(one.graph is not None for patterns in self._patterns.values() for one in patterns)

    def clear(self) -> None:
        """Forget all graphs, as when tensors that they read or write have been replaced."""
        self._patterns.clear()
        self._pool = None

    @contextmanager
    def chunk(self, steps: range) -> Iterator[None]:
        """Around consecutive steps, at most ``capacity``, that are run in their order."""
        with self._own_stream():
            self._steps = steps
            self._cursor.zero_()
            for patterns in self._patterns.values():
                for pattern in patterns:
                    pattern.values.load(steps)
            yield

    @contextmanager
    def _own_stream(self) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        present = torch.cuda.current_stream()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            yield
        present.wait_stream(self._stream)

    def step(self, kind: Hashable, index: int, code: StepCode) -> None:
        """Step ``index`` of the chunk; ``kind`` is what is known of its pattern beforehand."""
        patterns = self._patterns.setdefault(kind, [])
        pattern = next((one for one in patterns if one.values.fits(index)), None)
        if pattern is None:
            pattern = _Pattern(StepValues(self._cursor, self._dtype, self._capacity))
            pattern.values.load(self._steps)
            patterns.append(pattern)
            self._run(pattern, index, code)
        elif not self._capture:
            self._run(pattern, index, code)
        else:
            if pattern.graph is None:
                self._record(pattern, index, code)
            else:
                for counter, added in zip(self._counters(), pattern.counted, strict=True):
                    for name, count in added.items():
                        counter[name] += count
            pattern.graph.replay()

    def _run(self, pattern: _Pattern, index: int, code: StepCode) -> None:
        with pattern.values.run(index):
            code(pattern.values)

    def _record(self, pattern: _Pattern, index: int, code: StepCode) -> None:
        """Capture the step, whose code runs on the host and counts there, but does not compute."""
        before = tuple(dict(counter) for counter in self._counters())
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()  # which ends with its last graph
        try:
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                self._run(pattern, index, code)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                "trainer.graph=true: a step of this fit cannot be captured as a CUDA graph, because it reads a value "
                f"from the GPU or depends on one in its shapes ({reason}); set trainer.graph=false"
            ) from error
        pattern.graph = graph
        pattern.counted = tuple(map(_added, before, self._counters()))


def _added(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
