"""The weights that a few tiny fits end with, recorded in ``tests/golden.json``.

``python -m tests.training.golden`` writes the file anew; it refuses while the numbers have moved under the same
``PROTOCOL_VERSION``, because then records of before and after would pass for the same run.

What is written, for each case and each tensor that is kept:

- of a fit in double precision, the sum and the norm: rounding differs between processors (1e-14 between AVX2 and
  AVX-512), but stays far below the tolerance, so these hold on every machine;
- of the same fit in single precision, a digest of the bits, for this machine alone: its key names the version of torch,
  the instruction set and the model of the processor, all of which choose the order of summation.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.training.tiny import classifier_stage, fitted, gan_stage, inputs_for, joint_stage
from trigan.identity import digest, weights_digest
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import FeatureMatching
from trigan.training.stage import Stage
from trigan.version import PROTOCOL_VERSION

FILE = Path(__file__).resolve().parents[1] / "golden.json"
#: Of a tensor's norm. Without vector instructions torch draws the first weights, which are single, a rounding apart.
TOLERANCE = 1e-6 if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else 1e-4

CASES: dict[str, Callable[[], Stage]] = {
    "gan": lambda: gan_stage(5),
    "joint": lambda: joint_stage(FeatureMatching(), 5),
    "classifier": lambda: classifier_stage(5),
}


def machine() -> str:
    """Where the same program gives the same bits: torch, instruction set, processor."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        known = {name.strip(): value.strip() for name, value in lines}
        cpu = " ".join(known.get(name, "?") for name in ("vendor_id", "cpu family", "model", "stepping"))
        cpu += " " + digest(known.get("flags", ""), 8)
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {cpu}"


def kept(case: str, settings: TrainerSettings) -> dict[str, dict[str, torch.Tensor]]:
    """The state of every network that the case's fit ends with."""
    stage = CASES[case]()
    module, _ = fitted(stage, settings)
    networks = stage.finish(module, inputs_for(stage))
    return {player: dict(network.state_dict()) for player, network in sorted(networks.items())}


def sums_and_norms(case: str) -> dict[str, dict[str, list[float]]]:
    """Player -> tensor -> [sum, norm], of the fit in double precision."""
    found = kept(case, TrainerSettings(precision="64-true"))
    return {
        player: {name: [float(value.double().sum()), float(value.double().norm())] for name, value in state.items()}
        for player, state in found.items()
    }


def digests(case: str) -> dict[str, str]:
    """Player -> digest of the bits, of the fit in single precision."""
    return {player: weights_digest(state) for player, state in kept(case, TrainerSettings()).items()}


def moved(now: dict[str, Any], then: dict[str, Any]) -> list[str]:
    """The tensors whose sum or norm has moved, as ``player/tensor``; all names that one side lacks."""
    new, old = (
        {f"{player}/{name}": pair for player, state in side.items() for name, pair in state.items()}
        for side in (now, then)
    )
    names = sorted(new.keys() ^ old.keys())
    for name in sorted(new.keys() & old.keys()):
        (total, norm), (old_total, old_norm) = new[name], old[name]
        bound = TOLERANCE * max(old_norm, 1e-3)
        if abs(norm - old_norm) > bound or abs(total - old_total) > bound * 10:
            names.append(name)
    return names


def read() -> dict[str, Any]:
    """The file."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def main() -> int:
    """Write the file; the exit code is 1 where that would hide a change."""
    torch.set_num_threads(1)
    now = {case: sums_and_norms(case) for case in CASES}
    bits = {case: digests(case) for case in CASES}
    old = read() if FILE.exists() else {"protocol": None, "weights": {}, "digests": {}}
    same_protocol = old["protocol"] == PROTOCOL_VERSION
    changed = [f"{case}: {name}" for case in CASES for name in moved(now[case], old["weights"].get(case, {}))]
    changed += [f"{case}: bits" for case in CASES if old["digests"].get(machine(), bits)[case] != bits[case]]
    known = {} if changed else old["digests"]
    if same_protocol and changed:
        print(f"numbers moved ({changed[0]} and more): raise trigan.PROTOCOL_VERSION first", file=sys.stderr)
        return 1
    content = {"protocol": PROTOCOL_VERSION, "weights": now, "digests": {**known, machine(): bits}}
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
