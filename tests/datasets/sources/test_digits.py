import numpy as np
import pytest
from sklearn.datasets import load_digits

from trigan.datasets.sources.digits import Digits
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError


def test_values_and_labels() -> None:
    source, bunch = Digits().load(), load_digits()
    assert source.spec == DataSpec(1, 8, 10)
    assert source.images.shape == (1797, 1, 8, 8)
    assert np.array_equal(source.images[:, 0].numpy(), np.round(bunch.images * 255 / 16))
    assert source.labels.tolist() == bunch.target.tolist()
    assert source.official_test is None


def test_fingerprint_is_stable() -> None:
    assert Digits().load().fingerprint == Digits(image_size=32, channels=3).load().fingerprint
    assert Digits().load().fingerprint.startswith("24f7f4aca066d56e")


def test_size_and_channels() -> None:
    assert Digits(image_size=32, channels=3).load().spec == DataSpec(3, 32, 10)
    with pytest.raises(ConfigError, match=r"data.image_size: 4"):
        Digits(image_size=4)
