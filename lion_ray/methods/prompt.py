"""What a prompt is to the model around it, and the two plainest. `prompts` has LION's, `vpt_pad` the border."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class PartlyActing(Protocol):
    """A module some of whose trained entries may be cut off: what feeds them, or what they feed, is 0."""

    def acting(self) -> Mapping[str, Tensor]:
        """By parameter name, boolean of its shape: the entries that can change the logits; others' all can."""


class Prompt(nn.Module):
    """The plainest prompt, `x -> x`; methods derive theirs. `lr_multiplier` scales the study's learning rate."""

    lr_multiplier: float = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """`x` with the prompt added; same shape."""
        return x

    def added(self, x: Tensor) -> Tensor:
        """The prompt alone, without `x`; only prompts that may have an auxiliary loss have to tell."""
        raise NotImplementedError

    def prunable(self) -> tuple[str, ...]:
        """Names, among this module's own parameters, of the weights that lottery rounds may prune."""
        return ()

    def project_(self) -> None:
        """Restore what must hold after every optimizer step, in place."""

    def health(self) -> dict[str, float]:
        """What to watch, by name, since the last call; empty if there is nothing to watch."""
        return {}

    def has_path(self) -> bool:
        """Whether what it adds depends on `x`; true where pruning cannot cut it off."""
        return True

    @property
    def is_switchable(self) -> bool:
        """Whether `x` without it is what the frozen model has there."""
        return False


class Features(Prompt):
    """Of rows (B, D + ...) the features (B, D): a head that has no prompt, behind a body that makes maps."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        """The features."""
        return x[:, : self.num_features]
