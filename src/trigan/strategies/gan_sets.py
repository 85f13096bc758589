"""The GANs behind a sample set: what each sees, how many there are, and the one generator that they make together."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from trigan.data.inputs import Input
from trigan.data.types import DataSpec, TrainingView
from trigan.networks.gans.gan_ensembles import DiscriminatorEnsemble, GeneratorMixture, PerClassGenerators
from trigan.rng import hash64
from trigan.strategies.stage_runner import StageRunner
from trigan.training.stages.gan_stage import GANStage


@dataclass(frozen=True)
class GANEnsemble:
    """``count`` GANs of different seeds, of which each sample is drawn from one.

    ``labels`` says where a sample's label comes from, and with it what a GAN sees: ``condition`` images with labels,
    ``per_class`` (one GAN a class) those of one class, ``classifier`` images alone. ``all_images``: the last sees the
    unlabelled ones, too.
    """

    gan: GANStage
    labels: Literal["condition", "classifier", "per_class"]
    all_images: bool
    count: int = 1

    def train(self, view: TrainingView, runner: StageRunner) -> dict[str, nn.Module]:
        """``generator`` and, but for one GAN a class, ``discriminator``; the first GAN has the runner's own seed."""
        members = [self._member(view, runner, number) for number in range(self.count)]
        if len(members) == 1:
            return members[0]
        generators, judges = ([m[name] for m in members if name in m] for name in ("generator", "discriminator"))
        joined: dict[str, nn.Module] = {"generator": GeneratorMixture(generators).eval()}
        return {**joined, "discriminator": DiscriminatorEnsemble(judges).eval()} if judges else joined

    def skeleton(self, spec: DataSpec) -> nn.Module:
        """A generator of the same shapes."""
        members = [self._skeleton_of_member(spec) for _ in range(self.count)]
        return members[0] if len(members) == 1 else GeneratorMixture(members)

    def _skeleton_of_member(self, spec: DataSpec) -> nn.Module:
        make = self.gan.architecture.generator
        return (
            PerClassGenerators([make(spec) for _ in range(spec.classes)]) if self.labels == "per_class" else make(spec)
        )

    def _member(self, view: TrainingView, runner: StageRunner, number: int) -> dict[str, Any]:
        seed = hash64(runner.seed, "gan", number) if number else runner.seed
        ending = f"-seed{number}" if number else ""
        labelled = view.labelled
        if self.labels == "per_class":
            generators = []
            for label in range(view.spec.classes):
                data = Input(labelled.images[labelled.labels == label])
                own = hash64(seed, "class", label)
                trained = runner.train(f"gan-{label}{ending}", self.gan, {"real": data}, own)
                generators.append(trained.networks["generator"])
            return {"generator": PerClassGenerators(generators).eval()}
        if self.labels == "condition":
            data = Input(labelled.images, labelled.labels)
        else:
            data = Input(view.training_images if self.all_images else labelled.images)
        return dict(runner.train(f"gan{ending}", self.gan, {"real": data}, seed).networks)
