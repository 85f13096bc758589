"""Settings of a fit that depend on the machine."""

import pytest
import torch

from trigan.training.fit import TrainerSettings


@pytest.mark.parametrize(
    ("capability", "precision", "emulated"),
    [("AVX2", "bf16-mixed", True), ("AVX512", "bf16-mixed", False), ("AVX2", "32-true", False)],
)
def test_bfloat16_without_instructions_for_it_is_known(
    capability: str, precision: str, emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert TrainerSettings(precision=precision).emulates_bfloat16 is emulated  # type: ignore[arg-type]
