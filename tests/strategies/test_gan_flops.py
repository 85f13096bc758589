"""``strategy.gan.flops``: a GAN of so many counted operations is the stage with the steps that they pay for."""

from pathlib import Path

import pytest
from few_steps import composer, run_strategy, small

from trigan.errors import ConfigError
from trigan.strategies.gans import GeneratorStage, with_affordable_steps
from trigan.strategies.stage_runner import TrainedStage

#: Architectures and losses whose updates repeat after 1, 2, 4 and 1 steps.
GANS = {
    "dcgan": (1, ["architecture=dcgan"]),
    "projection": (2, ["architecture=projection", "loss=hinge", "loss.discriminator_steps=2"]),
    "r3gan": (
        4,
        ["architecture=r3gan", "loss=relativistic_paired", "loss.regularizers=[r1]", "loss.regularizers.r1.every=4"],
    ),
    "edm": (1, ["architecture=edm"]),
}


def trained(place: Path, *words: str) -> TrainedStage:
    """The generator's stage of a run whose stages are short, but not limited."""
    given = small("regime.labels_per_class=7", "recipe.steps=1", *words, steps=10**6)
    done = run_strategy(composer().compose(given), place)
    return next(one for one in done.runner.trained_stages if one.kind in ("gan", "diffusion"))


@pytest.mark.parametrize("strategy", ["augment", "features"])
@pytest.mark.parametrize("name", GANS)
def test_the_stage_is_that_of_the_whole_cycles_that_the_operations_pay_for(
    name: str, strategy: str, tmp_path: Path
) -> None:
    cycle, words = GANS[name]
    words = [*words, f"strategy={strategy}"]
    one = trained(tmp_path, *words, f"strategy.gan.steps={cycle}")
    three = trained(tmp_path, *words, f"strategy.gan.steps={3 * cycle}")
    for flops in (3 * one.cost.flops, 4 * one.cost.flops - 1):
        found = trained(tmp_path, *words, f"strategy.gan.flops={flops}")
        assert found.reused  # the same stage, hash included
        assert found.digest == three.digest
    assert found.cost.flops == three.cost.flops == 3 * one.cost.flops
    with pytest.raises(ConfigError, match=rf"gan\.flops=.*: the {cycle} steps after which its updates repeat cost"):
        trained(tmp_path, *words, f"strategy.gan.flops={one.cost.flops - 1}")


def test_a_run_without_it_keeps_its_hash_and_steps_beside_it_are_unused() -> None:
    words = ["strategy=augment", "logger=none"]
    plain = composer().compose(words)
    gan: GeneratorStage = plain.build().strategy.gan
    assert with_affordable_steps(gan, None, None) is gan  # type: ignore[arg-type]
    assert composer().compose([*words, "strategy.gan.flops=null"]).run_hash("f") == plain.run_hash("f")
    assert composer().compose([*words, "strategy.gan.flops=1e12"]).run_hash("f") != plain.run_hash("f")
    with pytest.raises(ConfigError, match=r"strategy\.gan\.flops: -1 must be above 0, or null"):
        composer().compose([*words, "strategy.gan.flops=-1"])
    both = composer().compose([*words, "strategy.gan.flops=1e12", "strategy.gan.steps=7"])
    assert both.unused == ("strategy.gan.steps",)
