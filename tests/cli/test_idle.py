"""What a user sets and nothing reads is found, by the references of the chosen strategy."""

import pytest
from few_steps import composer


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (["strategy=joint", "balance=class_weights"], ("balance",)),
        (["strategy=joint", "optimizer=two_time_scale"], ("optimizer",)),
        (["strategy=joint", "architecture.width=16", "data.suggested.joint_steps=5"], ()),
        (["strategy=joint", "data.suggested.gan_steps=5"], ("data.suggested.gan_steps",)),
        (["strategy=baseline", "balance=class_weights", "classifier.width=8", "trainer.accumulate=2"], ()),
        (["strategy=baseline", "architecture=cgan"], ("architecture",)),
        (["strategy=features", "data.suggested.width=16", "loss=hinge"], ()),  # through the architecture
        (["strategy=features", "classifier=resnet18"], ("classifier",)),
        (["strategy=features", "strategy.probe=fine_tune", "balance=resampling"], ()),
    ],
    ids=lambda value: " ".join(value) or "none",
)
def test_idle_settings(words: list[str], idle: tuple[str, ...]) -> None:
    assert composer().compose(words).idle == idle
