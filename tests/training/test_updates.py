"""An update changes one player and no other by a single bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trigan import distributed
from trigan.training.players import PlayersModule, Update
from trigan.training.step import TrainingStep

from .tiny import OBJECTIVES, built, copied, fitted, gan_stage, same


def _state(module: PlayersModule, player: str) -> dict[str, dict[str, Tensor]]:
    """What an update of a player changes: weights, average, optimizer state."""
    optimizer = module._optimizer_of[player]
    state = {
        f"{number}/{key}": value.clone()
        for number, slots in enumerate(optimizer.state.values())
        for key, value in slots.items()
        if isinstance(value, Tensor)
    }
    average = dict(module.averages[player].named_parameters()) if player in module.averages else {}
    return {
        "weights": copied(dict(module.networks[player].named_parameters())),
        "average": copied(average),
        "optimizer": state,
        "buffers": copied(dict(module.networks[player].named_buffers())),
    }


def _watch_updates(monkeypatch: pytest.MonkeyPatch, look: Callable[[PlayersModule, Update, Any], None]) -> None:
    """Call ``look(module, update, run)`` instead of each update; ``run`` does the update."""
    move = PlayersModule._update

    def instead(module: PlayersModule, update: Update, steps: list[TrainingStep]) -> None:
        look(module, update, lambda: move(module, update, steps))

    monkeypatch.setattr(PlayersModule, "_update", instead)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_the_named_player_changes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(module: PlayersModule, update: Update, play: Callable[[], None]) -> None:
        before = {player: _state(module, player) for player in module.players}
        play()
        after = {player: _state(module, player) for player in module.players}
        for player in module.players:
            kinds = ("weights", "average", "optimizer")
            moved = {kind for kind in kinds if not same(before[player][kind], after[player][kind])}
            has_average = {"average"} if player in module.averages else set()
            assert moved == ({"weights", "optimizer"} | has_average if player == update.player else set()), player
            if player not in (update.player, "generator"):  # G's own forward pass moves its statistics, whoever asks
                assert same(before[player]["buffers"], after[player]["buffers"])
        assert all(weight.grad is None for weight in module.parameters()), "a frozen player was left a gradient"
        seen.append(update.player)

    _watch_updates(monkeypatch, look)
    module, _ = fitted(OBJECTIVES[name]())
    assert set(seen) == set(module.players)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_autograd_computes_no_gradient_of_frozen_players(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is not computed at all, rather than computed and discarded."""
    owners: list[set[str]] = []
    modules: list[PlayersModule] = []

    def look(module: PlayersModule, update: Update, play: Callable[[], None]) -> None:
        modules.append(module)
        play()

    def between(parameters: list[torch.nn.Parameter]) -> None:  # after backward, before the optimizer's step
        networks = modules[-1].networks
        owners.append({name for name in networks if any(p.grad is not None for p in networks[name].parameters())})

    _watch_updates(monkeypatch, look)
    monkeypatch.setattr(distributed, "average_gradients", between)
    module, _ = fitted(OBJECTIVES[name]())
    assert owners == [{update.player} for _ in range(module.plan.steps) for update in module.updates]


def test_averages_never_take_gradients() -> None:
    module = built(gan_stage())
    assert not any(weight.requires_grad for weight in module.averages.parameters())
    assert list(module.averages) == ["generator"]


def test_the_loss_of_g_uses_the_updated_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []

    def look(module: PlayersModule, update: Update, play: Callable[[], None]) -> None:
        discriminator = module.networks["discriminator"]
        at_rest = copied(dict(discriminator.named_parameters()))
        met: list[dict[str, Tensor]] = []
        hook = discriminator.register_forward_hook(
            lambda *_: met.append(copied(dict(discriminator.named_parameters())))
        )
        play()
        hook.remove()
        if update.player == "generator":
            checked.append(len(met) == 1 and same(met[0], at_rest) and not same(at_rest, stale[0]))
        else:
            stale[:] = [at_rest]

    stale: list[dict[str, Tensor]] = []
    _watch_updates(monkeypatch, look)
    fitted(gan_stage(steps=3))
    assert checked == [True, True, True]
