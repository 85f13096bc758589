"""What a user sets and nothing reads is found, by the references of the chosen strategy."""

import pytest
from few_steps import composer


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (["strategy=joint", "balance=class_weights", "recipe.batch=32"], ()),
        (["strategy=features", "recipe.steps=5", "recipe=cosine"], ("recipe.steps", "recipe")),
        (["strategy=joint", "optimizer=two_time_scale"], ("optimizer",)),
        (["strategy=joint", "architecture.width=16", "data.suggested.steps=5"], ()),
        (["strategy=joint", "data.suggested.gan_steps=5"], ("data.suggested.gan_steps",)),
        (["strategy=baseline", "balance=class_weights", "classifier.width=8", "trainer.accumulate=2"], ()),
        (["strategy=baseline", "architecture=cgan"], ("architecture",)),
        (["strategy=features", "data.suggested.width=16", "loss=hinge"], ()),  # through the architecture
        (["strategy=features", "classifier=resnet18"], ("classifier",)),
        (["strategy=features", "strategy.probe=fine_tune", "balance=resampling"], ()),
        (["strategy=augment", "strategy.source=unlabelled", "strategy.label_threshold=0.5", "loss=hinge"], ("loss",)),
        (
            ["strategy=augment", "strategy.source=noise", "strategy.gan.batch=8", "strategy.samples.weight=1"],
            ("strategy.gan.batch",),
        ),
        (
            ["strategy=augment", "strategy/schedule=pretrain", "strategy.samples.weight=1", "strategy.samples.sets=2"],
            ("strategy.samples.weight",),
        ),
        (["strategy=augment", "architecture=cgan", "strategy.label_threshold=0.5"], ("strategy.label_threshold",)),
        *(
            ([f"strategy={strategy}", "architecture=cgan", "strategy.gan.labelled_share=0.3", *images], idle)
            for strategy in ("augment", "features")
            for images, idle in (
                ([], ("strategy.gan.labelled_share",)),
                (["strategy.gan_images=partly_labelled"], ()),
            )
        ),
        (["strategy=augment", "strategy.label_threshold=0.5", "strategy.gan.batch=8", "loss=hinge"], ()),
        (
            ["strategy=features", "strategy.backbone=pixels", "strategy.layers=[none]", "loss=hinge"],
            ("strategy.layers", "loss"),
        ),
        (["strategy=features", "strategy.backbone=untrained", "strategy.grid=2", "loss=hinge"], ("loss",)),
        (
            ["strategy=augment", "architecture=edm", "loss=hinge", "optimizer=two_time_scale", "strategy.gan.batch=8"],
            ("loss", "optimizer"),
        ),
        (["strategy=features", "strategy.backbone=pixels", "architecture=cgan"], ()),  # says what the GAN may see
    ],
    ids=lambda value: " ".join(value) or "none",
)
def test_idle_settings(words: list[str], idle: tuple[str, ...]) -> None:
    assert composer().compose(words).unused == idle
