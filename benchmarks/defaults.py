"""Choose defaults on validation labels: C's recipe, augment's settings, the loss of GANs, the augmentation of images.

    python benchmarks/defaults.py recipe digits
    python benchmarks/defaults.py augmentation blood_cells --root FOLDER --trials 5
    python benchmarks/defaults.py augment mnist --root FOLDER --trials 3
    python benchmarks/defaults.py loss_augment digits --trials 3

Trials are counted from 20 on, which no table uses. The test set stays sealed; a run is scored on its validation images
(``regime.validation=large``, the last weights), and its generator, if it has one, by the Fréchet distance to training
images in `random_conv` (``fid``). The result is written after each trial to
benchmarks/results/defaults_QUESTION_DATA.json. The same command continues where it stopped.
"""

import argparse
import json
import logging
import statistics
from pathlib import Path

from scipy import stats

from trigan.runs.run_words import run_words

RESULTS = Path(__file__).parent / "results"
FIRST_TRIAL = 20
COMMON = (
    "regime.validation=large",
    "selection.rule=val",
    "selection.candidates=1",
    "logger=none",
    "callbacks=quiet",
)
LENGTHS = {
    "digits": (
        "classifier.width=16",
        "architecture.width=16",
        "data.suggested.steps=500",
        "data.suggested.gan_steps=900",
    ),
    "mnist": ("data.suggested.steps=1000", "data.suggested.gan_steps=2000"),
    "fashion_mnist": ("data.suggested.steps=1000", "data.suggested.gan_steps=2000"),
    "fashion_mnist_16": (
        "classifier.width=16",
        "architecture.width=16",
        "data.suggested.steps=500",
        "data.suggested.gan_steps=1000",
    ),
    "cifar10": ("data.suggested.steps=1500", "data.suggested.gan_steps=3000"),
    "blood_cells": ("data.suggested.steps=1000", "data.suggested.gan_steps=2000"),
}
#: A data set that has no choice of its own.
DATA = {
    "blood_cells": ("data=hub", "data.image_size=32", "data.group=slide"),
    "fashion_mnist_16": ("data=fashion_mnist", "data.image_size=16"),
}
LABELS = {
    "recipe": 10,
    "augment": 10,
    "augmentation": 20,
    "loss_augment": 10,
    "loss_features": 10,
    "architectures": 10,
    "conditional": 10,
}
BASELINES = {
    "classic": ("strategy=baseline",),
    "FixMatch": ("strategy=baseline", "strategy/unlabelled=fixmatch"),
}
RECIPES = ("linear_tail", "cosine", "fixmatch")
#: The settings of augment before these measurements; the rows change one after another.
BEFORE = {
    "strategy": "augment",
    "strategy/teacher": "labelled",
    "strategy/filter": "confidence",
    "strategy.label_threshold": "0.95",
    "strategy.samples.targets": "hard",
    "strategy.samples.sets": "1",
}
TEACHER = {"strategy/teacher": "fixmatch"}
FRESH = {"strategy.samples.sets": "auto"}
QUANTILE = {"strategy/filter": "class_quantile", "strategy.label_threshold": ""}  # the filter sets it
SOFT = {
    **FRESH,
    "strategy/filter": "none",
    "strategy.label_threshold": "0",
    "strategy.samples.targets": "soft",
}
CONTROL = {"strategy.source": "unlabelled"}
LABELLED_GAN = {"architecture": "cgan"}
CONDITIONAL = {**LABELLED_GAN, "strategy.gan_images": "all", "strategy.labels": "condition"}


def augment(*changes: dict[str, str]) -> tuple[str, ...]:
    """The words of a row; a setting with an empty value is left to the defaults."""
    settings = dict(BEFORE)
    for change in changes:
        settings |= change
    return tuple(f"{key}={value}" for key, value in settings.items() if value)


#: The classic augmentation of a user's own images (conf/data/folder.yaml), and their only one before.
OWN = {"rotate": 10, "translate": 0, "scale": 0.1, "crop": 0.125, "flip": "auto", "cutout": 0, "noise": 0}
OWN_AND_COLOUR = {**OWN, "color_jitter": 0.2}
SHIFTS = {**dict.fromkeys(OWN_AND_COLOUR, 0), "crop": 2, "flip": "false"}


def policy(name: str, place: str, strengths: dict[str, object]) -> tuple[str, ...]:
    """The words of an augmentation; a few hundred steps of a narrow network, so that trials are cheap."""
    words = (f"{place}.{key}={value}" for key, value in strengths.items())
    return ("classifier.width=16", "recipe.steps=600", f"augmentation={name}", *words)


def gan_losses(strategy: str) -> dict[str, tuple[str, ...]]:
    """Losses of a strategy's GAN, with the learning rate and betas of Adam that G and D share."""
    rows = {}
    for name, rate, betas in (
        ("non_saturating", 2e-4, "[0.5,0.999]"),
        ("non_saturating", 5e-4, "[0.5,0.999]"),
        ("non_saturating", 5e-4, "[0.0,0.9]"),
        ("hinge", 5e-4, "[0.5,0.999]"),
        ("hinge", 5e-4, "[0.0,0.9]"),
        ("hinge", 1e-3, "[0.0,0.9]"),
    ):
        settings = {"discriminator_steps": 1, "learning_rate": rate, "betas": betas}
        words = (f"loss={name}", *(f"loss.{key}={value}" for key, value in settings.items()))
        rows[f"{name}, {rate}, {betas}"] = (f"strategy={strategy}", *words)
    return rows


#: Operations of the fit of a generator on digits: 600 steps of the diffusion model.
OPERATIONS = "strategy.gan.flops=5.2e11"
R1 = ("architecture.discriminator_norm=none", "loss.regularizers=[r1]")
PAIRED = ("loss=relativistic_paired", "loss.regularizers=[r1,r2]")


def generator(name: str, *words: str) -> tuple[str, ...]:
    """The words of augment with an architecture, trained for as many operations as the others; also on U."""
    return ("strategy=augment", OPERATIONS, f"architecture={name}", "strategy.gan_images=all", *words)


#: GANs with labels, without mode collapse.
GANS = {"cgan": ("architecture=cgan", "architecture.minibatch_std=4"), "projection": ("architecture=projection", *R1)}

QUESTIONS = {
    "conditional": {
        f"{gan}, {images}": ("strategy=augment", f"strategy.gan_images={images}", *words)
        for gan, words in GANS.items()
        for images in ("labelled", "all", "partly_labelled")
    },
    "architectures": {
        "dcgan": generator("dcgan"),
        "cgan": generator("cgan"),
        "cgan, minibatch_std": generator("cgan", "architecture.minibatch_std=4"),
        "sngan": generator("sngan"),
        "sngan, r1": generator("sngan", *R1),
        "projection": generator("projection"),
        "projection, r1": generator("projection", *R1),
        "biggan_small": generator("biggan_small"),
        "biggan_small, r1": generator("biggan_small", *R1),
        "r3gan": generator("r3gan", *PAIRED),
        "r3gan, rate 2e-3": generator("r3gan", *PAIRED, "loss.learning_rate=2e-3"),
        "edm": generator("edm"),
    },
    "loss_augment": gan_losses("augment"),
    "loss_features": gan_losses("features"),
    "augmentation": {
        "of the data set": policy("classic", "augmentation", {}),
        "none": policy("none", "augmentation", {}),
        "shifts by two pixels": policy("classic", "augmentation", SHIFTS),
        "of own images": policy("classic", "augmentation", OWN_AND_COLOUR),
        "of own images, no flips": policy("classic", "augmentation", {**OWN_AND_COLOUR, "flip": "false"}),
        "of own images, flips": policy("classic", "augmentation", {**OWN_AND_COLOUR, "flip": "true"}),
        "TrivialAugment": policy("auto", "augmentation.classic", {"crop": 0.125, "flip": "auto"}),
        "RandAugment": policy(
            "randaugment", "augmentation.classic", {key: value for key, value in OWN.items() if key != "cutout"}
        ),
    },
    "recipe": {
        f"{baseline}, {recipe}": (*words, f"recipe={recipe}")
        for recipe in RECIPES
        for baseline, words in BASELINES.items()
    },
    "augment": {
        **BASELINES,
        "samples": augment(),
        "samples, teacher": augment(TEACHER),
        "samples, teacher, fresh": augment(TEACHER, FRESH),
        "samples, teacher, fresh, quantile": augment(TEACHER, FRESH, QUANTILE),
        "samples, teacher, fresh, soft": augment(TEACHER, SOFT),
        "samples, teacher, fresh, soft, DiffAugment": augment(
            TEACHER, SOFT, {"discriminator_augmentation": "diffaugment"}
        ),
        "samples, teacher, fresh, soft, separate batch norm": augment(
            TEACHER, SOFT, {"strategy.samples.batch_norm": "separate"}
        ),
        "samples, teacher, fresh, soft, annealed": augment(
            TEACHER, SOFT, {"strategy.samples.annealing": "cosine", "strategy.samples.until": "0.8"}
        ),
        "samples of a cGAN, teacher, fresh, soft": augment(TEACHER, SOFT, CONDITIONAL),
        "samples of a cGAN on labelled images": augment(LABELLED_GAN),
        "samples of a cGAN on labelled images, fresh": augment(LABELLED_GAN, FRESH),
        "samples of a cGAN on labelled images, fresh, soft": augment(LABELLED_GAN, SOFT),
        "FixMatch and samples, teacher, fresh, soft": augment(TEACHER, SOFT, {"strategy/unlabelled": "fixmatch"}),
        "unlabelled images": augment(CONTROL),
        "unlabelled images, teacher": augment(TEACHER, CONTROL),
        "unlabelled images, teacher, fresh, soft": augment(TEACHER, SOFT, CONTROL),
    },
}


def main() -> None:
    """Run what is missing, one trial after another, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("data", choices=LENGTHS)
    parser.add_argument("--root", help="folder with the data set's Parquet files")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rows", nargs="+", help="some of the rows (default: all)")
    parser.add_argument("--outputs", default="outputs/defaults", help="folder of runs and stages")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    file = RESULTS / f"defaults_{options.question}_{options.data}.json"
    kept = settings_of(options.question, options.data)
    settings = [*kept, f"paths.outputs={options.outputs}", *([f"data.root={options.root}"] if options.root else [])]
    rows = {name: words for name, words in QUESTIONS[options.question].items() if name in (options.rows or [name])}
    scores = {figure: {name: list[float]() for name in rows} for figure in ("accuracy", "fid")}
    if file.is_file():
        kept_scores = json.loads(file.read_text())
        scores = {figure: values | kept_scores.get(figure, {}) for figure, values in scores.items()}
    for trial in range(options.trials):
        for name, words in rows.items():
            if len(scores["accuracy"][name]) <= trial:
                for figure, value in figures([*words, *settings, f"trial={FIRST_TRIAL + trial}"]).items():
                    scores[figure][name].append(value)
        write(file, kept, scores)
    for figure, values in scores.items():
        print(f"{figure}\n{table(values)}" if any(values.values()) else "")


def figures(words: list[str]) -> dict[str, float]:
    """The accuracy in % on the validation images and, of a run with a generator, its ``fid``."""
    result = json.loads((run_words(words, validation_only=True) / "validation.json").read_text())["result"]
    quality = {"fid": result["generator"]["figures"]["fid"]} if "generator" in result else {}
    return {"accuracy": 100 * float(result["validation"]["accuracy"]), **quality}


def settings_of(question: str, data: str) -> list[str]:
    """The settings that all rows share."""
    labels = f"regime.labels_per_class={LABELS[question]}"
    return [*DATA.get(data, (f"data={data}",)), labels, *COMMON, *LENGTHS[data]]


def write(file: Path, settings: list[str], scores: dict[str, dict[str, list[float]]]) -> None:
    """Keep the scores and the settings that made them."""
    known = {figure: values for figure, values in scores.items() if any(values.values())}
    file.write_text(json.dumps({"settings": settings, "first trial": FIRST_TRIAL, **known}, indent=1) + "\n")


def table(scores: dict[str, list[float]]) -> str:
    """Mean of each candidate, and its paired difference to the first with a 95 % t interval."""
    reference, lines = next(iter(scores.values())), []
    for name, values in scores.items():
        if not values:
            continue
        differences = [one - other for one, other in zip(values, reference, strict=False)]  # trials that both have
        mean, n = statistics.fmean(differences), len(differences)
        half = stats.t.ppf(0.975, n - 1) * statistics.stdev(differences) / n**0.5 if n > 1 else float("nan")
        lines.append(
            f"{name:55} {statistics.fmean(values):6.2f}  {mean:+5.2f} [{mean - half:+5.2f}, {mean + half:+5.2f}]"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
