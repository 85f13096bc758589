"""200 staged failures and healthy runs for the collapse watch: thresholds from one half, alarms counted on the other.

Healthy: fits on a ring of 8 and a grid of 25 Gaussians (the MLPs of r3gan_ablation.py, paired loss with R1), fits of
dcgan, sngan and edm on digits, and real images that no G was trained on in G's place. Failures: one image or three
images for all latents, a missing mode or class, classes exchanged, copies of training images with a little noise, a D
that trains alone against a G that stands still, learning rates of 3. Half of each kind are for the thresholds, the
others, of seeds from 1,000 on, for the alarms.

    python benchmarks/collapse_watch.py benchmarks/results/collapse_watch.json

``--again`` computes the table from the looks in that file. The table of docs/collapse.md is printed at the end.
"""

import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import modes
import r3gan_ablation as plane
import torch
from torch import Tensor, nn

from trigan.config.compose import compose
from trigan.datasets.inputs import Input
from trigan.datasets.sources.digits import Digits
from trigan.datasets.types import DataSpec
from trigan.evaluation.generators import collapse
from trigan.losses.gan_losses import minimax
from trigan.training.collapse_watch import SIGNALS, CollapseWatch, Thresholds, WatchState
from trigan.training.fit import TrainerSettings, fit
from trigan.training.stage import StageContext
from trigan.training.step import TrainingPlan

#: Looks of a fit, and samples of a look.
WATCH = CollapseWatch(least_steps=1)
Looks = list[dict[str, float]]
#: Steps of the fits; how many cases of each kind, over all seeds.
PLANE_STEPS, DCGAN_STEPS, SNGAN_STEPS, EDM_STEPS, ALONE_STEPS = 600, 500, 500, 250, 200
#: A threshold is this share of the worst healthy value (of duplicates: halfway from it to 1).
MARGIN = 0.5
_digits = Digits().load()
TRAIN, HELD_OUT = 1200, len(_digits.images)
LABELS = torch.as_tensor(_digits.labels)


# Points of the plane ----------------------------------------------------------------------------------------------


def centres(data: str) -> Tensor:
    """The means of the ring, (8, 2), or of a 5 x 5 grid on the same square, (25, 2)."""
    return modes.ring() if data == "ring" else modes.grid(1.0)


def points(data: str, count: int, without: int = -1) -> Tensor:
    """Real points, of all modes but one."""
    means = centres(data)
    return modes.real_points(means[torch.arange(len(means)) != without], plane.DEVIATION, count)


def plane_watch(data: str, steps: int) -> tuple[WatchState, collapse.TrainingReference]:
    """A watch without a network, and the reference of 2,000 points, in the plane itself."""
    real = points(data, 2_000)
    state = WatchState(WATCH, TrainingPlan(steps, plane.BATCH), Input(real), len(centres(data)), None)
    return state, collapse.TrainingReference.of(real, WATCH.images, len(centres(data)))


def look_at_points(
    watch: WatchState, reference: collapse.TrainingReference, samples: Tensor, step: int, critic: Any = None
) -> None:
    """Note the signals of samples (300, 2), and of a D with its loss of G, if there is one."""
    found = collapse.sample_signals(reference, samples)
    if critic is not None:
        discriminator, loss = critic
        seen = samples.detach().requires_grad_()
        real, logits = discriminator(reference.first)[:, 0], discriminator(seen)[:, 0]
        value = loss.generator_loss(*((real.detach(), logits) if loss.pairs else (logits,)))
        gradient = torch.autograd.grad(value, seen)[0]
        found |= collapse.discriminator_signals(real.detach(), logits.detach(), gradient)
        found |= watch.against_earlier(found)
    watch.judge(collapse.rounded(found), step)


def plane_fit(data: str, seed: int, failure: str = "") -> Looks:
    """A fit with ten looks; a failure: a G that stands still beside the data, and D with the minimax loss."""
    torch.manual_seed(seed)
    watch, reference = plane_watch(data, PLANE_STEPS)
    players = plane.mlp(plane.LATENT, 2), plane.mlp(2, 1)
    optimizers = [torch.optim.Adam(one.parameters(), 1e-3, (0.0, 0.99)) for one in players]
    loss, penalties = (minimax(), (False, False)) if failure else (plane.ROWS["paired + R1"][0], (True, False))
    if failure:
        optimizers[0].param_groups[0]["lr"] = 0.0
        nn.init.constant_(players[0][-1].bias, 3.0)
    z = torch.randn(WATCH.images, plane.LATENT)
    for step in range(1, PLANE_STEPS + 1):
        plane.update(players, tuple(optimizers), loss, penalties, points(data, plane.BATCH))
        if step % (PLANE_STEPS // 10) == 0:
            with torch.no_grad():
                samples = players[0](z)
            look_at_points(watch, reference, samples, step, (players[1], loss))
    return watch.looks


def staged_points(data: str, seed: int, failure: str) -> Looks:
    """Two looks at samples that are what a G with this failure would draw; without a failure: real points."""
    torch.manual_seed(seed)
    watch, reference = plane_watch(data, 2)
    for step in (1, 2):
        if failure in ("constant", "three images"):
            few = points(data, 1 if failure == "constant" else 3)
            samples = few[torch.randint(len(few), (WATCH.images,))] + 1e-3 * torch.randn(WATCH.images, 2)
        elif failure == "copies":
            near = 0.1 * float(reference.spacing.median())
            chosen = reference.features[torch.randint(len(reference.features), (WATCH.images,))]
            samples = chosen + near * torch.randn(WATCH.images, 2)
        else:
            samples = points(data, WATCH.images, seed % len(centres(data)) if failure else -1)
        look_at_points(watch, reference, samples, step)
    return watch.looks


# Digits -----------------------------------------------------------------------------------------------------------


def gan_fit(architecture: str, steps: int, seed: int, *words: str) -> Looks:
    """The looks of a fit of the stage as it is composed, on 1,200 digits."""
    strategy = "augment" if architecture in ("edm", "cgan") else "features"
    given = (f"strategy={strategy}", f"architecture={architecture}", f"strategy.gan.steps={steps}")
    stage = compose([*given, *words]).build().strategy.gan
    stage = replace(stage, watch=replace(WATCH, looks=3 if architecture == "edm" else 10))
    labels = LABELS[:TRAIN] if stage.architecture.conditional else None
    module = stage.build(
        StageContext(DataSpec(1, 8, 10), seed, TrainerSettings()), {"real": Input(_digits.images[:TRAIN], labels)}
    )
    ending = fit(module, TrainerSettings())
    looks: Looks = module.watch.looks
    return looks if ending.status == "finished" else [*looks, *[{"step": float(steps), "not_finite": 1.0}] * 2]


class Staged(nn.Module):
    """A generator that draws by ``draw(count, labels)``, images in [-1, 1]."""

    def __init__(self, draw: Callable[[int, Tensor | None], Tensor], classes: int) -> None:
        super().__init__()
        self.weight, self.latent, self.classes, self._draw = nn.Parameter(torch.zeros(1)), 1, classes, draw

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        return self._draw(len(z), y)


def staged_digits(seed: int, failure: str, conditional: bool) -> Looks:
    """Two looks at a G with this failure; without one it draws digits that are not among the training images."""
    torch.manual_seed(seed)
    scaled = _digits.images.float() / 127.5 - 1.0
    few = scaled[TRAIN:][torch.randint(HELD_OUT - TRAIN, (1 if failure == "constant" else 3,))]

    pools = [(LABELS[TRAIN:] == label).nonzero()[:, 0] for label in range(10)]
    turns = [itertools.cycle(pool[torch.randperm(len(pool))].tolist()) for pool in pools]

    def of_labels(labels: Tensor) -> Tensor:
        """Held-out digits of these labels, each once as long as there are others."""
        return torch.tensor([next(turns[label]) for label in labels.tolist()])

    def draw(count: int, labels: Tensor | None) -> Tensor:
        if failure in ("constant", "three images"):
            return few[torch.randint(len(few), (count,))] + 0.01 * torch.randn(count, *scaled.shape[1:])
        lost, y = seed % 10, torch.randint(10, (count,)) if labels is None else labels
        if failure == "copies":
            sd = (0.02, 0.05, 0.1)[seed % 3]
            return (scaled[torch.randint(TRAIN, (count,))] + sd * torch.randn(count, *scaled.shape[1:])).clamp(-1, 1)
        if failure == "class lost":
            y = torch.where(y == lost, (y + 1 + seed // 10 % 9) % 10, y)
        return scaled[TRAIN:][of_labels(y)]

    known = Input(_digits.images[:TRAIN], LABELS[:TRAIN] if conditional else None)
    watch = WatchState(WATCH, TrainingPlan(2, 64, seed=seed), known, 10, None)
    generator = Staged(draw, 10 if conditional else 0)
    for step in (1, 2):
        watch.judge(watch.signals(generator), step)
    return watch.looks


# Cases ------------------------------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[str, str, bool, int, Callable[[int], Looks]]]:
    """(data, name, whether it is a failure, number of seeds, seed -> looks)."""
    yield "ring", "fit", False, 18, lambda seed: plane_fit("ring", seed)
    yield "grid", "fit", False, 18, lambda seed: plane_fit("grid", seed)
    yield "digits", "dcgan", False, 24, lambda seed: gan_fit("dcgan", DCGAN_STEPS, seed)
    fast = ("loss=hinge", "loss.discriminator_steps=1", "loss.learning_rate=0.001")
    yield "digits", "sngan", False, 4, lambda seed: gan_fit("sngan", SNGAN_STEPS, seed, *fast)
    yield "digits", "edm", False, 8, lambda seed: gan_fit("edm", EDM_STEPS, seed)
    for data in ("ring", "grid"):
        yield data, "real points", False, 4, lambda seed, data=data: staged_points(data, seed, "")
        for failure, count in (("constant", 6), ("three images", 4), ("class lost", 8), ("copies", 8)):
            yield data, failure, True, count, lambda seed, d=data, f=failure: staged_points(d, seed, f)
        yield data, "D saturated", True, 4, lambda seed, data=data: plane_fit(data, seed, "saturated")
    for name, conditional in (("", False), (", conditional", True)):
        yield "digits", f"real images{name}", False, 10, lambda seed, c=conditional: staged_digits(seed, "", c)
        for failure, count in (("constant", 4), ("three images", 2), ("class lost", 4), ("copies", 4)):
            yield "digits", failure + name, True, count, lambda s, f=failure, c=conditional: staged_digits(s, f, c)
    alone = ("loss=minimax", "optimizer.generator.learning_rate=1e-9", "optimizer.discriminator.learning_rate=0.002")
    yield "digits", "D saturated", True, 6, lambda seed: gan_fit("dcgan", ALONE_STEPS, seed, *alone)
    wild = ("optimizer.generator.learning_rate=3", "optimizer.discriminator.learning_rate=3")
    yield "digits", "rate of 3", True, 6, lambda seed: gan_fit("dcgan", ALONE_STEPS, seed, *wild)


def collect() -> list[dict[str, Any]]:
    """All cases with their looks."""
    found = []
    for data, name, failure, count, make in cases():
        began = time.process_time()
        for number in range(count):
            one = {"data": data, "name": name, "failure": failure, "calibration": number < count // 2}
            found.append({**one, "looks": make(number if number < count // 2 else 1_000 + number)})
        print(f"{data}, {name}: {count} cases, {time.process_time() - began:.0f} s", flush=True)
    return found


# Thresholds and alarms ----------------------------------------------------------------------------------------------


def judged(case: dict[str, Any]) -> Looks:
    """The looks that may be alarms."""
    looks: Looks = case["looks"]
    return [look for look in looks if look["step"] >= WATCH.start * looks[-1]["step"]]


def kept(look: dict[str, float]) -> dict[str, float]:
    """What is written of a look: its signals that have thresholds, to four digits."""
    return {name: float(f"{value:.4g}") for name, value in look.items() if name in SIGNALS or name == "step"}


def pairs(case: dict[str, Any], name: str) -> list[float]:
    """The better value of each two looks in a row: what an alarm of patience 2 needs to be bad."""
    values, low = [look.get(name) for look in judged(case)], SIGNALS[name][0]
    better = max if low else min
    return [better(a, b) for a, b in itertools.pairwise(values) if a is not None and b is not None]


def severity(case: dict[str, Any], limits: dict[str, float]) -> float:
    """How far the worst signal is beyond its threshold, as a logarithm; above 0: an alarm."""
    worst = -math.inf
    for name, limit in limits.items():
        for value in pairs(case, name):
            ratio = max(limit, 1e-9) / max(value, 1e-9)
            worst = max(worst, math.log(ratio if SIGNALS[name][0] else 1 / ratio))
    return math.inf if any("not_finite" in look for look in judged(case)) else worst


def calibrated(found: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Signal -> the worst value of the healthy half for the thresholds, and the threshold from it."""
    limits = {}
    for name in (one for one in SIGNALS if one != "not_finite"):
        healthy = [v for case in found if case["calibration"] and not case["failure"] for v in pairs(case, name)]
        if SIGNALS[name][0]:
            limits[name] = min(healthy), MARGIN * min(healthy)
        else:
            limits[name] = max(healthy), (1 + max(healthy)) / 2 if name == "duplicates" else max(healthy) / MARGIN
    return limits


def auroc(healthy: list[float], failures: list[float]) -> float:
    """Share of pairs that are in order, ties counting half."""
    wins = sum((bad > good) + 0.5 * (bad == good) for bad in failures for good in healthy)
    return wins / (len(healthy) * len(failures))


def summarise(found: list[dict[str, Any]], limits: dict[str, float]) -> dict[str, Any]:
    """AUROC and counts of alarms on the half that chose no threshold."""
    test = [case for case in found if not case["calibration"]]
    severities = {
        failure: [severity(one, limits) for one in test if one["failure"] is failure] for failure in (False, True)
    }
    rows: dict[str, list[int]] = {}
    for case in test:
        row = rows.setdefault(f"{case['data']}: {case['name']}", [0, 0])
        row[0] += severity(case, limits) > 0
        row[1] += 1
    alarms = {failure: sum(one > 0 for one in values) for failure, values in severities.items()}
    return {
        "auroc": round(auroc(severities[False], severities[True]), 4),
        "false_alarms": [alarms[False], len(severities[False])],
        "found": [alarms[True], len(severities[True])],
        "rows": rows,
    }


def table(rows: dict[str, list[int]]) -> str:
    """Alarms of cases, a row for each name and a column for each data set."""
    columns = ("ring", "grid", "digits")
    split = {tuple(row.split(": ")): alarms for row, alarms in rows.items()}
    lines = ["| case | " + " | ".join(columns) + " |", "|---|---|---|---|"]
    for name in dict.fromkeys(name for _, name in split):
        cells = ("{} of {}".format(*split[data, name]) if (data, name) in split else "" for data in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(target: Path, again: bool) -> None:
    """Collect or read the looks; thresholds and alarms, written to ``target``."""
    torch.set_num_threads(1)
    began = time.process_time()
    if again:
        content = json.loads(target.read_text())
        found, spent = content["cases"], content["cpu_seconds"]
    else:
        found = collect()
        spent = round(time.process_time() - began)
    found = [{**one, "looks": [kept(look) for look in judged(one)]} for one in found]
    limits = calibrated(found)
    defaults = {name: float(getattr(Thresholds(), name)) for name in limits}
    result = {
        "command": f"python benchmarks/collapse_watch.py {target}",
        "cpu_seconds": spent,
        "calibrated": {name: {"worst_healthy": worst, "threshold": limit} for name, (worst, limit) in limits.items()},
        "with_calibrated": summarise(found, {name: limit for name, (_, limit) in limits.items()}),
        "with_defaults": {"thresholds": defaults, **summarise(found, defaults)},
    }
    print(json.dumps(result["calibrated"], indent=1))
    for name in ("with_calibrated", "with_defaults"):
        print(name, {key: result[name][key] for key in ("auroc", "false_alarms", "found")})
    print(table(result["with_defaults"]["rows"]))
    target.write_text(json.dumps({**result, "cases": found}, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--again" in sys.argv)
