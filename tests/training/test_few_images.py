"""DiffAugment for GANs and games that are trained on few images."""

import pytest

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.discriminator_augmentation import DiffAugment, WithFewImages
from trigan.training.objectives import FeatureMatching

from .tiny import fitted, gan_stage, joint_stage, same


@pytest.mark.parametrize("below", [1, 10_000])
def test_a_gan_of_few_images_is_the_gan_with_the_augmentation(below: int) -> None:
    """Weights after a fit: those of the GAN with DiffAugment below the limit, those of the plain GAN above it."""
    few = gan_stage(2, augmentation=WithFewImages(DiffAugment(), below))
    expected = gan_stage(2, augmentation=DiffAugment() if below > 1 else NoAugmentation())
    other = gan_stage(2, augmentation=NoAugmentation() if below > 1 else DiffAugment())
    found, same_as, differs = (fitted(stage)[0].networks.state_dict() for stage in (few, expected, other))
    assert same(found, same_as)
    assert not same(found, differs)


def test_a_game_of_few_images_has_it_too() -> None:
    stages = [
        joint_stage(FeatureMatching(), 2, discriminator_augmentation=one)
        for one in (WithFewImages(DiffAugment(), 10_000), DiffAugment(), NoAugmentation())
    ]
    found, same_as, differs = (fitted(stage)[0].networks.state_dict() for stage in stages)
    assert same(found, same_as)
    assert not same(found, differs)
