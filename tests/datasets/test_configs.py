"""Each YAML of the data room's groups builds its object from the defaults alone."""

from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from trigan.config.compose import Composer
from trigan.datasets.augmentation import ClassicAugmentation, NoAugmentation, StrongAugmentation
from trigan.datasets.randaugment import RandAugment, TrivialAugment
from trigan.datasets.sources.image_source import ImageSource
from trigan.datasets.splits.regime import Regime
from trigan.datasets.splits.split_file import RegimeFromFile
from trigan.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def load(group: str, name: str) -> Any:
    path = CONF / group / f"{name}.yaml"
    assert path.read_text().startswith("# "), f"{path} does not say what it is"
    return OmegaConf.load(path)


def build_source(data: Any) -> Any:
    # The configs' `source` nodes refer to `data.*`, as they do below the composed config.
    return instantiate(OmegaConf.create({"data": data}).data.source)


def test_all_sources_are_there() -> None:
    wanted = "cifar10 cifar100 digits fashion_mnist folder hub kmnist mnist npz stl10 svhn table"
    assert names("data") == wanted.split()


@pytest.mark.parametrize("name", names("data"))
def test_data(name: str) -> None:
    data = load("data", name)
    if name == "hub":
        with pytest.raises(Exception, match=r"data.repo=OWNER/NAME") as error:
            build_source(data)
        assert isinstance(error.value.__cause__ or error.value, ConfigError)
        data.repo = "owner/name"
    for key, value in (("root", "some/folder"), ("image_size", 16), ("channels", 3)):
        if key in data:
            data[key] = value
    source = build_source(data)
    assert isinstance(source, ImageSource)
    assert (source.image_size, source.channels) == (16, 3)
    assert getattr(source, "root", "some/folder") == "some/folder"
    assert set(data.suggested) == {"gan_steps", "steps", "latent", "width", "augmentation", "matching"}


def regime(name: str) -> Any:
    return instantiate(Composer().outline([f"regime={name}"]).config["regime"])


@pytest.mark.parametrize("name", names("regime"))
def test_regime(name: str) -> None:
    assert isinstance(regime(name), RegimeFromFile if name == "from_file" else Regime)


@pytest.mark.parametrize("data", names("data"))
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", NoAugmentation),
        ("classic", ClassicAugmentation),
        ("strong", StrongAugmentation),
        ("randaugment", RandAugment),
        ("auto", TrivialAugment),
    ],
)
def test_augmentation(name: str, kind: type, data: str) -> None:
    whole = OmegaConf.merge(
        {"data": OmegaConf.load(CONF / "config.yaml").data},
        {"data": load("data", data), "augmentation": load("augmentation", name)},
    )
    built = instantiate(whole.augmentation)
    assert isinstance(built, kind)
    if isinstance(built, ClassicAugmentation):
        assert built == ClassicAugmentation(**whole.data.suggested.augmentation)
        own = data in {"folder", "hub", "npz", "table"}  # whose images nobody knows
        assert built.flip == ("auto" if own else data in {"cifar10", "cifar100", "stl10", "fashion_mnist"})
        assert (built.crop < 1 and bool(built.color_jitter)) == own or not built.crop


def test_default_is_ten_labels_and_the_rest_unlabelled() -> None:
    assert regime("default") == Regime(labels_per_class=10)
