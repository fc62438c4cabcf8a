"""LION's prompts as modules: `x + V z*` in front of the backbone and behind it, built by `lion` from its options.

The output prompt reads the pooled features (the plain reading of the paper) or, which is this project's, mid-level
maps: then its state is a few maps on a small grid, read out by averages over `readout` x `readout` fields and a
low-rank V. Maps come behind the features in one row (`backbones.Maps`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lion_ray.backbones import averaged
from lion_ray.implicit import Cell, ExplicitLayer, ImplicitLayer, write
from lion_ray.methods.model import Prompt

Layer = ImplicitLayer | ExplicitLayer
MakeLayer = Callable[[Callable[[], Cell]], Layer]
"""From the way to make a cell to the layer u -> z that the options describe."""


class EquilibriumPrompt(Prompt):
    """`x + V z*` with `V` starting at zero; leaves say what `V` is."""

    def __init__(self, layer: Layer, lr_multiplier: float) -> None:
        super().__init__()
        self.equilibrium = layer
        self.lr_multiplier = lr_multiplier

    def prunable(self) -> tuple[str, ...]:
        """All trained weights; biases stay."""
        weights = ((name, p) for name, p in self.equilibrium.named_parameters() if not name.endswith(".b"))
        return *(f"equilibrium.{name}" for name, p in weights if p.requires_grad), *dict(
            self.named_parameters(recurse=False)
        )

    def project_(self) -> None:
        """Scale each row of `W` back inside the bound."""
        self.equilibrium.project_()

    def health(self) -> dict[str, float]:
        """The solver's health since the last call."""
        health = self.equilibrium.health()
        self.equilibrium.reset_health()
        return health


class InputPrompt(EquilibriumPrompt):
    """`x + V1 z1*` on images (B, 3, H, W); `V1` (c, 3, s, s) writes the patches that the injection `U1` reads."""

    def __init__(self, layer: Layer, lr_multiplier: float, *, channels: int, stride: int) -> None:
        super().__init__(layer, lr_multiplier)
        self.V = nn.Parameter(torch.zeros(channels, 3, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        """The prompted images."""
        return write(x, self.equilibrium(x), self.V.to(x.dtype))


class OutputPrompt(EquilibriumPrompt):
    """`h + V2 z2*` on features (B, D)."""

    def __init__(self, layer: Layer, lr_multiplier: float, *, num_features: int, width: int) -> None:
        super().__init__(layer, lr_multiplier)
        self.V = nn.Parameter(torch.zeros(num_features, width))

    def forward(self, x: Tensor) -> Tensor:
        """The prompted features."""
        return x + self.added(x)

    def added(self, x: Tensor) -> Tensor:
        """`V2 z2*`."""
        return F.linear(self.equilibrium(x), self.V.to(x.dtype))


class MapsPrompt(EquilibriumPrompt):
    """`h + V2 R2 a(z2*)`: rows (B, D + C g g) to features (B, D); `a` averages z2* (B, d, g, g) over k x k fields.

    `V` (D, r) starts at zero, `R` (r, d k k) does not.
    """

    def __init__(
        self, layer: Layer, lr_multiplier: float, *, num_features: int, grid: int, readout: int, R: Tensor
    ) -> None:
        super().__init__(layer, lr_multiplier)
        self.num_features, self.grid, self.readout = num_features, grid, readout
        self.R = nn.Parameter(R)
        self.V = nn.Parameter(torch.zeros(num_features, len(R)))

    def forward(self, x: Tensor) -> Tensor:
        """The prompted features."""
        return x[:, : self.num_features] + self.added(x)

    def added(self, x: Tensor) -> Tensor:
        """`V2 R2 a(z2*)`."""
        maps = x[:, self.num_features :]
        z = self.equilibrium(maps.reshape(x.shape[0], -1, self.grid, self.grid))
        fields = averaged(z, self.readout).flatten(1)
        return F.linear(F.linear(fields, self.R.to(x.dtype)), self.V.to(x.dtype))
