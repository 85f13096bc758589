"""Attacks on the allow-list: nothing outside it is imported, let alone built."""

import sys
from pathlib import Path

import pytest

from trigan.config.allow_list import check_targets, import_target
from trigan.config.compose import Composer
from trigan.errors import ConfigError

ATTACKS = [
    "os.system",
    "builtins.eval",
    "torch.load",
    "torch.hub.load",
    "hydra.utils.get_object",
    "triganevil.y",
    "torch.nnevil.y",
    "trigan.commands.main.os.system",
    "trigan.execution.pool.LocalEngine",
    "trigan.rng.hashlib.new",
    "trigan.rng.permutation",
    "trigan.atomic.write_bytes",
    "trigan.atomic.write_bytes",
    "trigan.rng.torch.load",
    "trigan.errors.__loader__.exec_module",
    "trigan..errors",
    "trigan",
    "torch.nn.modules.module.torch.load",
    "torch.nn.Module.load_state_dict",
    "trigan.rng.Draws.normal",
    "pytorch_lightning.LightningModule.load_from_checkpoint",
    "pytorch_lightning.core.saving.load_hparams_from_yaml",
    "trigan.PROTOCOL_VERSION",
    "trigan.rng.Draws",
    "trigan.tracking.curve_files.MetricsFile",
    "pytorch_lightning.cli.LightningCLI",
    "torchmetrics.text.BERTScore",
]


@pytest.mark.parametrize("target", ATTACKS)
def test_attacks_are_refused(target: str) -> None:
    with pytest.raises(ConfigError, match=r"not on the allow-list|expected a class or a function|cannot be found"):
        _pass({"node": {"_target_": target}})


def _pass(config: dict[str, object]) -> object:
    check_targets(config)
    node = config["node"]
    assert isinstance(node, dict)
    return import_target("node", node["_target_"])


@pytest.mark.parametrize(
    "target",
    [
        "trigan.networks.classifiers.cnn.SmallCNN",
        "trigan.losses.gan_losses.hinge",
        "torch.nn.ReLU",
        "torch.nn.functional.relu",
        "torch.optim.Adam",
    ],
)
def test_what_configs_need_is_allowed(target: str) -> None:
    assert callable(_pass({"node": {"_target_": target}}))


@pytest.mark.parametrize(
    "config",
    [
        {"a": {"_target_": "trigan.rng.Draws", "seed": {"_target_": "os.getpid"}}},
        {"a": [{"b": [{"_target_": "os.getpid"}]}]},
        {"a": {"_partial_": True, "_target_": "os.getpid"}},
        {"a": {"_recursive_": False, "_target_": "trigan.rng.Draws", "_args_": [{"_target_": "os.getpid"}]}},
        {"a": {"_target_": ["os.getpid"]}},
    ],
)
def test_nested_targets_are_found(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="not on the allow-list"):
        check_targets(config)


def test_a_refused_target_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composer: Composer) -> None:
    (tmp_path / "stranger.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Net:\n    width: int = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"architecture\._target_=stranger\.Net: not on the allow-list"):
        composer.compose(["architecture._target_=stranger.Net"])
    assert "stranger" not in sys.modules
    named = composer.compose(["runtime.allow=[stranger]"])
    assert named.runtime.allow == ("stranger",)


def test_only_the_command_line_widens_the_list(tmp_path: Path) -> None:
    (tmp_path / "debug").mkdir()
    (tmp_path / "debug" / "sly.yaml").write_text("# @package _global_\nruntime: {allow: [os]}\n")
    own = Composer(config_dir=tmp_path, conf=Path(__file__).parents[1] / "small_conf")
    with pytest.raises(ConfigError, match="command line only"):
        own.compose(["debug=sly"])
    assert own.compose(["runtime.allow=[mine.networks]"]).runtime.allow == ("mine.networks",)
    with pytest.raises(ConfigError, match="names of modules"):
        own.compose(["runtime.allow=['a b']"])
