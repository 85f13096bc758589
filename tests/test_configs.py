"""Every YAML of conf/ composes, is well typed, builds, and takes a step; a new file is covered the moment it exists."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm_package
import tiny_data
import yaml
from few_steps import check, composer, run_strategy, small

from trigan.commands.arguments import help_text
from trigan.config.compose import unresolved
from trigan.errors import ConfigError
from trigan.records.record import read_record
from trigan.runs.finished_run import open_run
from trigan.runs.run import run
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study
from trigan.studies.study_table import published_results

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = CONF.parent / "experiments"
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))

#: Ends of the names of objectives with the terms for another data set.
DATA_TERMS = ("", "_svhn", "_cifar10")
#: What else a choice needs to make sense; all others go with the defaults.
NEEDS = {
    "loss/wasserstein": ("architecture.discriminator_norm=none",),
    **dict.fromkeys(
        (f"loss/regularizers/{name}" for name in ("r1", "r2", "gradient_penalty", "dragan")),
        ("architecture.discriminator_norm=none",),
    ),
    "strategy/objective/conditional": ("architecture=cgan",),
    **dict.fromkeys((f"strategy/objective/triple_gan{data}" for data in DATA_TERMS), ("architecture=cgan",)),
    "strategy/objective/acgan": ("architecture=cgan",),
    "strategy/post_hoc/thresholds": ("regime.validation=within",),
    "recipe/criterion/forward": ("regime=noisy",),
    "recipe/criterion/backward": ("regime=noisy",),
    "data/hub": ("data.repo=owner/name",),
}
#: Under which strategy the choices of a group show, where it isn't the default one.
STRATEGY = {"optimizer": "features", "discriminator_augmentation": "features"}
#: Building it needs what a machine may not have.
NEEDS_GPU = {"trainer/gpu", "trainer/ddp"}


def words(file: str) -> tuple[str, ...] | None:
    """The overrides that choose a YAML; None where it is no choice but a part of others."""
    group, _, name = file.rpartition("/")
    if not group or group not in composer().groups:
        return None
    if group.startswith("strategy/"):
        return f"strategy={_owner(group)}", f"{group}={name}", *NEEDS.get(file, ())
    if group == "strategy":
        return (f"strategy={name}",)
    strategy = (f"strategy={STRATEGY[group]}",) if group in STRATEGY else ()
    return *strategy, f"{group}={name}", *NEEDS.get(file, ())


def _owner(group: str) -> str:
    """The strategy whose defaults hold an inner group."""
    inner = group.split("/")[1]
    for path in sorted((CONF / "strategy").glob("*.yaml")):
        if any(isinstance(d, dict) and inner in d for d in yaml.safe_load(path.read_text()).get("defaults", [])):
            return path.stem
    raise AssertionError(f"no strategy has {inner} among its defaults, so conf/{group} can't be chosen")


CHOICES = [file for file in FILES if (found := words(file)) and not file.startswith("stage/") and found]
DATA = [file for file in CHOICES if file.startswith("data/")]
#: Steps of these are taken further down, or by the tests of ranks; or they say nothing about training.
NO_STEP = {
    file
    for file in CHOICES
    if file.split("/")[0] in ("data", "architecture", "loss", "trainer", "logger", "callbacks", "debug")
} | {"regime/from_file"}  # needs a file, which tests/commands/test_splits.py gives it


def test_every_yaml_is_a_choice_or_part_of_one() -> None:
    """What isn't chosen by itself is in the defaults of something that is."""
    included = "".join(path.read_text() for path in CONF.rglob("*.yaml"))
    spaces = {file for file in FILES if file.startswith("search/")}  # tests/search/test_space.py
    for file in set(FILES) - set(CHOICES) - {"config"} - spaces:
        group = file.rpartition("/")[0]
        chosen_elsewhere = re.search(rf"- /{group}@[\w.]+: \w", included)
        assert f"/{file}@" in included or chosen_elsewhere, f"conf/{file}.yaml is reached by nothing"


@pytest.mark.parametrize("file", FILES)
def test_a_yaml_says_on_top_what_it_is(file: str) -> None:
    comments = itertools.takewhile(lambda line: line.startswith("#"), (CONF / f"{file}.yaml").read_text().splitlines())
    assert any(not line.startswith("# @package") and len(line) > 10 for line in comments)


@pytest.mark.parametrize("file", [file for file in CHOICES if file in NO_STEP])
def test_composes_and_builds(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if file in NEEDS_GPU:
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    chosen = words(file)
    assert chosen is not None
    composed = composer().compose(chosen)
    group, _, name = file.rpartition("/")
    assert composed.choices[group] == name
    built = composed.build()
    assert group == "debug" or hasattr(built, group.partition("/")[0])


@pytest.mark.slow
def test_every_choice_is_checked_and_hashed_without_importing_a_library() -> None:
    """One whose objects ask a library something would have wrong values, and finished runs, found seconds later."""
    code = (
        "import json, sys; from trigan import absent_libraries; from trigan.config.compose import Composer\n"
        "composer = Composer()\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    draft = composer._draft(words)\n"
        "    decide = lambda: draft.build() and draft.run.run_hash('data')\n"
        "    print(absent_libraries.without_libraries(draft.locate, decide))"
    )
    # they need a package; two augmented images, which are compared; a file
    left_out = ("classifier/timm", "strategy/consistency/pi_model", "regime/from_file")
    lines = [words(file) for file in CHOICES if file not in left_out]
    found = subprocess.run([sys.executable, "-c", code, json.dumps(lines)], capture_output=True, text=True, check=True)
    for line, run_hash in zip(lines, found.stdout.split(), strict=True):
        assert run_hash == composer()._draft(line).run.run_hash("data"), line


@pytest.mark.parametrize("file", [file for file in CHOICES if file not in NO_STEP])
def test_takes_a_step(file: str, tmp_path: Path) -> None:
    if file == "classifier/timm":
        timm_package.make_importable()
    chosen = words(file)
    assert chosen is not None
    composed = composer().compose(small(*chosen, steps=_steps(file)))
    group, _, name = file.rpartition("/")
    assert composed.choices[group] == name
    check(run_strategy(composed, tmp_path))


def _steps(loss: str) -> int:
    """As many as the game needs for G to move."""
    return 5 if loss == "loss/wasserstein" else 2


@pytest.mark.parametrize("file", DATA)
def test_a_data_set_on_the_disk_is_read_and_learnt(file: str, tmp_path: Path) -> None:
    """Tiny images in the layout that the source wants; ``joint`` builds G, D's backbone and C for their shape."""
    name, root = file.split("/")[1], tmp_path / "data"
    channels = 1 if "mnist" in name else 3
    source = unresolved(composer().base(composer().parse([f"data={name}"])))["data"]["source"]
    extra = _write(name, source, root, channels)
    given = [f"paths.outputs={tmp_path}", "strategy=joint", f"data={name}", *extra]
    done = run_strategy(composer().compose(small(*given, steps=1)), tmp_path / "store")
    check(done)
    if name != "digits":
        assert done.drawn.view.spec.channels == channels
        assert (done.source.official_test is not None) == (name not in ("folder", "table"))
    wanted = tiny_data.UNLABELLED if source.get("splits", {}).get("unlabelled") else 0
    assert int((done.source.labels < 0).sum()) == 3 * wanted


def _write(name: str, source: dict[str, Any], root: Path, channels: int) -> list[str]:
    kind = str(source["_target_"]).rsplit(".", 1)[1]
    if kind == "Hub":
        return [f"data.root={tiny_data.parquet(root, source, channels=channels)}"]
    if kind == "Folder":
        return [f"data.root={tiny_data.folder(root, channels=channels)}"]
    if kind == "Npz":
        return [f"data.root={tiny_data.npz(root / 'images.npz', channels=channels)}"]
    if kind == "ImageTable":
        images = tiny_data.folder(root, channels=channels)
        files = sorted(images.rglob("*.png"))
        lines = [f"{file.relative_to(images)},{file.parent.name}" for file in files]
        (images / "images.csv").write_text("\n".join(["image,label", *lines, ""]))
        return [f"data.root={images / 'images.csv'}"]
    assert kind == "Digits", f"conf/data/{name}.yaml: how {kind} lies on the disk is not known here; add it"
    return []


# Every architecture with every loss in every strategy that trains a GAN -------------------------------------------

GROUPS = composer().groups
#: Of these games the code is shared with, and every loss is tried in, another's; their cross products are slow.
FURTHER = {
    "acgan",
    "shared_network",
    "ec_gan",
    *(f"{game}{data}" for game in ("triple_gan", "bad_gan") for data in DATA_TERMS),
}
CONDITIONAL = ("cgan", "projection", "biggan_small")
#: Architectures whose D may have batch norm; the others take a gradient penalty as they are.
BATCH_NORM = ("cgan", "dcgan")
GAMES = [("augment", ""), ("features", ""), *(("joint", objective) for objective in GROUPS["strategy/objective"])]


#: Packs have tests of their own (tests/networks/test_packs.py); their inner architecture is among the others.
ARCHITECTURES = [name for name in GROUPS["architecture"] if name != "pacgan"]
#: Losses whose code another shares.
FURTHER_LOSSES = ("relativistic_average", "relativistic_hinge")


def cases() -> Iterator[Any]:
    """The GAN stage of `augment` is that of `features`, so its own column is slow."""
    for architecture, loss, (strategy, objective) in itertools.product(ARCHITECTURES, GROUPS["loss"], GAMES):
        if architecture == "edm" and loss != "non_saturating":  # it has no such loss
            continue
        further = objective in FURTHER or (objective == "pseudo_label" and architecture == "cgan")
        further = further or (architecture not in BATCH_NORM and loss not in ("hinge", "wasserstein"))
        slow = [pytest.mark.slow] if strategy == "augment" or further or loss in FURTHER_LOSSES else []
        for norm in ("batch", "none"):
            if norm == "batch" or (loss == "wasserstein" and architecture in BATCH_NORM):  # only a penalty cares
                yield pytest.param(architecture, loss, strategy, objective, norm, marks=slow)


#: ObjectiveFactory -> the architecture that it needs.
NEEDED = {
    **dict.fromkeys(("conditional", "triple_gan", "acgan"), "cgan"),
    **dict.fromkeys(("feature_matching", "bad_gan", "shared_network"), "dcgan"),
}
#: Games by what they ask of a loss: none but their own; logits; no gradient penalty.
OWN_LOSS, LOGITS, NO_PENALTY = (
    ("feature_matching", "bad_gan"),
    ("conditional", "triple_gan"),
    ("acgan", "shared_network"),
)


def played(objective: str, architecture: str) -> str:
    """The game that a choice stands for."""
    if objective == "auto":
        return "conditional" if architecture in CONDITIONAL else "feature_matching"
    return objective.removesuffix("_svhn").removesuffix("_cifar10")


def refusal(architecture: str, loss: str, objective: str, norm: str) -> str | None:
    """What a senseless combination is refused with: the settings that clash, and the mend."""
    objective = played(objective, architecture)
    needed = NEEDED.get(objective, architecture)
    if architecture == "edm" and objective:
        return "architecture=edm: this needs a GAN's G and D"
    if (architecture in CONDITIONAL) != (needed in CONDITIONAL):
        return f"objective={objective} needs .* architecture={needed}"
    if objective in OWN_LOSS and loss not in ("minimax", "non_saturating"):
        return f"loss: .*{objective} has losses of its own.*non_saturating"
    pairs = loss.startswith("relativistic")
    if objective in LOGITS and (pairs or loss in ("least_squares", "wasserstein")):
        return f"loss: .*{objective} .*loss=minimax, non_saturating or hinge"
    if objective in NO_PENALTY and loss == "wasserstein":
        return f"loss: .*{objective} has no gradient penalty"
    if objective in NO_PENALTY and pairs:
        return f"loss: .*{objective} takes logits of single images"
    if loss == "wasserstein" and norm == "batch" and architecture in BATCH_NORM:
        return "discriminator_norm=batch: a gradient penalty needs .*discriminator_norm=none or spectral"
    return None


@pytest.mark.parametrize(("architecture", "loss", "strategy", "objective", "norm"), list(cases()))
def test_architecture_loss_strategy(
    architecture: str, loss: str, strategy: str, objective: str, norm: str, tmp_path: Path
) -> None:
    given = [f"architecture={architecture}", f"loss={loss}", f"strategy={strategy}"]
    given += [f"strategy/objective={objective}"] if objective else []
    given += [f"architecture.discriminator_norm={norm}"] if norm != "batch" else []
    refused = refusal(architecture, loss, objective, norm)
    if refused:
        with pytest.raises(ConfigError, match=refused) as caught:
            composer().compose(small(*given))
        assert "\n" not in str(caught.value)
        return
    composed = composer().compose(small(*given, steps=_steps(f"loss/{loss}")))
    check(run_strategy(composed, tmp_path))


# Every two choices together ----------------------------------------------------------------------------------------


def factors() -> dict[str, list[str]]:
    """What is crossed: groups with all their choices, strategies with their inner ones, shapes and precision."""
    inner = {
        **{
            "unlabelled": "baseline",
            "head": "baseline",
            "filter": "augment",
            "schedule": "augment",
            "teacher": "augment",
        },
        **{"probe": "features", "backbone": "features", "objective": "joint", "consistency": "joint"},
    }
    variants = [f"{inner[g]} strategy/{g}={name}" for g in inner for name in GROUPS[f"strategy/{g}"]]
    groups = ("architecture", "loss", "optimizer", "classifier", "augmentation", "mix", "balance")
    groups += ("discriminator_augmentation",)
    crossed = {group: GROUPS[group] for group in groups}
    crossed["architecture"] = ARCHITECTURES
    crossed["classifier"] = [name for name in crossed["classifier"] if name != "timm"]
    shapes = {"data.channels": ["1", "3"], "data.image_size": ["8", "13", "16"]}
    return {
        "strategy": [
            *variants,
            "augment strategy.samples.fill=deficit",
            "augment strategy.source=unlabelled",
            "augment strategy.generators=2 strategy.samples.sets=2 strategy.samples.truncation=1",
        ],
        **crossed,
        "regime": [one for one in GROUPS["regime"] if one != "from_file"],  # it needs a file
        **shapes,
        "trainer.precision": ["32-true", "bf16-mixed", "64-true"],
        "trainer.accumulate": ["1", "2"],
    }


def every_two(crossed: dict[str, list[str]]) -> list[dict[str, str]]:
    """Cases such that any two values of any two factors meet in one of them (greedy, always the same)."""
    names = list(crossed)
    missing = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in crossed[a] for y in crossed[b]}
    cases = []
    while missing:
        case: dict[str, str] = dict(min(missing))
        for name in names:
            if name not in case:
                case[name] = max(crossed[name], key=lambda value: (_new(case, name, value, names, missing), value))
        cases.append(case)
        missing -= {tuple((n, case[n]) for n in two) for two in itertools.combinations(names, 2)}
    return cases


def _new(case: dict[str, str], name: str, value: str, names: list[str], missing: set[Any]) -> int:
    tried = {**case, name: value}
    return sum(tuple((n, tried[n]) for n in sorted((name, other), key=names.index)) in missing for other in case)


def sensible(case: dict[str, str]) -> list[str]:
    """The case as overrides, mended where two of its choices exclude each other."""
    given, strategy = dict(case), case["strategy"]
    of_a_gan = ("joint", "augment strategy/filter=discriminator", "features strategy/backbone=autoencoder")
    if case["architecture"] == "edm" and (strategy.startswith(of_a_gan) or case["loss"] == "wasserstein"):
        case = {**case, "architecture": "dcgan"}
        given["architecture"] = "dcgan"
    if strategy.startswith("joint"):
        objective = strategy.partition("objective=")[2] or "auto"
        given["architecture"] = NEEDED.get(played(objective, case["architecture"]), case["architecture"])
        objective = played(objective, given["architecture"])
        if objective in OWN_LOSS and case["loss"] != "minimax":
            given["loss"] = "non_saturating"
        elif refusal(given["architecture"], case["loss"], objective, "none"):
            given["loss"] = "hinge"
    looks = "source=unlabelled" in strategy or "teacher=self_training" in strategy or "teacher=fixmatch" in strategy
    looks |= "unlabelled=" in strategy and "unlabelled=none" not in strategy
    if strategy.endswith("unlabelled=mixmatch"):  # it has its own loss of labelled images
        given |= {"mix": "none", "balance": "none"}
    if looks and case["regime"] not in ("default", "few"):
        given["regime"] = "few"  # the others leave nothing unlabelled
    if strategy.startswith("joint") and case["discriminator_augmentation"] == "ada":
        given["discriminator_augmentation"] = "diffaugment"
    if given["loss"] == "wasserstein" and given["architecture"] in BATCH_NORM:
        given["architecture.discriminator_norm"] = "none"
    inner = given.pop("strategy").split()
    return [f"strategy={inner[0]}", *inner[1:], *(f"{key}={value}" for key, value in given.items())]


@pytest.mark.slow
@pytest.mark.parametrize("case", every_two(factors()), ids=lambda case: "-".join(case.values()).replace("/", "."))
def test_every_two_choices(case: dict[str, str], tmp_path: Path) -> None:
    given = sensible(case)
    composed = composer().compose(small(*given, f"paths.outputs={tmp_path}", steps=5))
    check(run_strategy(composed, tmp_path / "store"))


PAIRS = list(itertools.product(GROUPS["strategy/backbone"], GROUPS["strategy/probe"]))
#: Each probe with the trained backbone and with pixels; each backbone with the first probe, further up.
PROBED = [
    pytest.param(*pair, marks=() if pair == ("pixels", "knn") else pytest.mark.slow)
    for pair in PAIRS
    if "trained" not in pair
]


@pytest.mark.parametrize(("backbone", "probe"), PROBED)
def test_every_backbone_with_every_probe(backbone: str, probe: str, tmp_path: Path) -> None:
    """From the command to its record; with pixels there is no network, and nothing may ask for its parameters."""
    given = [
        "strategy=features",
        f"strategy.backbone={backbone}",
        f"strategy.probe={probe}",
        f"paths.outputs={tmp_path}",
    ]
    if (backbone, probe) == ("pixels", "fine_tune"):
        with pytest.raises(ConfigError, match="fine_tune needs a network"):
            composer().compose(small(*given))
        return
    directory = run(composer().compose(small(*given)))
    result = read_record(directory / "record.json")["result"]
    assert result["status"] == "finished"
    assert 0 <= result["test"]["accuracy"] <= 1
    assert (directory / "features.npz").is_file()
    finished = open_run(directory)
    assert set(finished.networks) == {"classifier"}


#: What a sample set of `augment` is made of, and how C takes it in.
SAMPLES = {
    "strategy.source": ["generator", "unlabelled", "labelled", "noise", "smote", "deep_smote"],
    "strategy/filter": GROUPS["strategy/filter"],
    "strategy/schedule": GROUPS["strategy/schedule"],
    "strategy/teacher": GROUPS["strategy/teacher"],
    "strategy/unlabelled": GROUPS["strategy/unlabelled"],
    "strategy.gan_images": ["auto", "all"],
    "mix": GROUPS["mix"],
    "architecture": ARCHITECTURES,
    "strategy.generators": ["1", "2"],
    "strategy.samples.sets": ["1", "2", "auto"],
    "strategy.samples.latent_scale": ["1", "1.5"],
    "strategy.samples.fill": ["balanced", "deficit", "to_largest", "errors"],
}
#: Settings that a generator alone has.
OF_A_GENERATOR = {"strategy.generators": "1", "strategy.samples.latent_scale": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("case", every_two(SAMPLES), ids=lambda case: "-".join(case.values()))
def test_every_two_settings_of_samples(case: dict[str, str], tmp_path: Path) -> None:
    """They compose, train, and are evaluated; a control refuses the settings of the generator that it hasn't."""
    given = {**case, "regime": "few"}
    if case["strategy.samples.fill"] in ("to_largest", "errors"):  # unequal classes, and validation labels
        given |= {"regime": "step_imbalanced", "regime.imbalance.ratio": "4", "regime.labels_per_class": "8"}
        given["regime.validation"] = "within"
    if case["strategy.source"] == "deep_smote" and case["architecture"] == "edm":
        given["architecture"] = "dcgan"
    if case["strategy.source"] != "generator":
        for setting, plain in OF_A_GENERATOR.items():
            if case[setting] != plain:
                with pytest.raises(ConfigError, match=f"{setting}=.*: applies to a generator"):
                    composer().compose(["strategy=augment", *(f"{key}={value}" for key, value in given.items())])
                break
        given |= OF_A_GENERATOR
    words = ["strategy=augment", *(f"{key}={value}" for key, value in given.items())]
    diffusion = case["architecture"] == "edm" and case["strategy.source"] == "generator"
    if diffusion and case["strategy/filter"] == "discriminator":
        with pytest.raises(ConfigError, match="DiscriminatorFilter needs a D, and a diffusion model has none"):
            composer().compose(words)
        return
    check(run_strategy(composer().compose(small(*words)), tmp_path))


@pytest.mark.parametrize("probe", [name for name in GROUPS["strategy/probe"] if name != "fine_tune"])
def test_pixels_are_a_trunk(probe: str, tmp_path: Path) -> None:
    """The control without any network: nothing may ask for its parameters."""
    given = ["strategy=features", "strategy.backbone=pixels", f"strategy/probe={probe}"]
    check(run_strategy(composer().compose(small(*given)), tmp_path))


def test_the_examples_of_the_help_compose() -> None:
    lines = [line.split("  ")[1].split()[2:] for line in help_text("run").splitlines()[1:]]
    assert len(lines) > 4
    for words in lines:
        if "-m" not in words:
            composer().compose([word for word in words if "=" in word])


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "full"])
@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*/study.yaml")), ids=lambda path: path.parent.name)
def test_studies_compose(path: Path, full: bool) -> None:
    """Every row, matched ones too, in one trial of one column; in full at every scale, else at the first with it."""
    raw = yaml.safe_load(path.read_text())
    seen: set[str] = set()
    for scale in raw.get("scales") or [None]:
        whole = read_study(path, scale)
        study = whole.model_copy(update={"trials": whole.trials[:1], "columns": whole.columns[:1]})
        plan = StudyPlan(composer(), study)
        for row in study.rows:
            if full or row.name not in seen or row is study.rows[0]:
                plan.compose(StudyJob(row, study.columns[0], study.trials[0]))
            seen.add(row.name)
        assert study.family is not None, "the comparisons that the claim speaks of"
        published_results(whole)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("strategy.unlabelled.strong", ("unlabelled",)),
        ("strategy.consistency.strong", ("joint", "consistency")),
        ("strategy.joint.consistency.strong", ("joint", "consistency")),
    ],
)
def test_the_strong_view_of_fixmatch_is_a_choice(key: str, place: tuple[str, ...]) -> None:
    strategy = ["strategy=joint", "strategy.consistency=fixmatch"]
    strategy = strategy if "consistency" in place else ["strategy.unlabelled=fixmatch"]
    node = composer().compose([*strategy, f"{key}=randaugment"]).config["strategy"]
    for name in place:
        node = node[name]
    assert node["strong"]["_target_"] == "trigan.datasets.randaugment.RandAugment"
    with pytest.raises(ConfigError, match=r"strong=rand: no such choice; choices: auto, classic, none, randaug"):
        composer().compose([*strategy, f"{key}=rand"])


def test_fixmatch_of_the_paper_has_the_papers_settings() -> None:
    """Sohn et al. 2020, table 4: tau .95, lambda_u 1, mu 7; RandAugment as the strong view."""
    alone = composer().compose(["strategy.unlabelled=fixmatch_paper"]).config["strategy"]["unlabelled"]
    joint = composer().compose(["strategy=joint", "strategy.consistency=fixmatch_paper"]).config["strategy"]["joint"]
    for found in (alone, joint["consistency"]):
        assert (found["threshold"], found["weight"], found["ratio"]) == (0.95, 1.0, 7)
        strong = found["strong"]
        assert (strong["operations"], strong["probability"], strong["cutout"], strong["classic"]["cutout"]) == (
            2,
            0.5,
            0.5,
            0,
        )


WITH_PAPER_SCALE = sorted(
    path.parent.name for path in EXPERIMENTS.glob("*/study.yaml") if re.search(r"^  paper:", path.read_text(), re.M)
)


@pytest.mark.parametrize("name", WITH_PAPER_SCALE)
def test_all_rows_of_a_paper_scale_train_c_equally_long(name: str) -> None:
    """No row says how long C is trained, and what a column says holds for baselines and games."""
    study = read_study(EXPERIMENTS / name / "study.yaml", "paper")
    assert not [setting for row in study.rows for setting in row.set if "suggested" in setting]
    for column in study.columns:
        lengths = re.findall(r"data\.suggested\.steps=(\d+)", " ".join((*study.fixed, *column.set)))
        assert len(set(lengths)) <= 1, column.name


def test_the_paper_scale_of_ssl_labels_has_the_epochs_of_the_papers() -> None:
    """Salimans et al. 2016, authors' code: 300, 900 and 1,200 epochs, here in batches of 64 images."""
    images = {"mnist": (60_000, 300), "svhn": (73_257, 900), "cifar10": (50_000, 1_200)}
    study = read_study(EXPERIMENTS / "ssl_labels" / "study.yaml", "paper")
    assert len(study.columns) == 8
    for column in study.columns:
        count, epochs = next(known for data, known in images.items() if f"data={data}" in column.set)
        steps = {int(setting.partition("=")[2]) for setting in column.set if "steps=" in setting}
        assert steps == {round(count * epochs / 64)}, column.name
