"""LION's prompts as modules: `x + V z*` in front of the backbone and behind it, built by `lion` from its options.

The output prompt reads the pooled features (the plain reading of the paper) or, which is this project's, mid-level
maps: then its state is a few maps on a small grid, read out by averages over `readout` x `readout` fields and a
low-rank V. Maps come behind the features in one row (`backbones.Maps`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lion_ray.backbones import averaged
from lion_ray.implicit import Cell, ExplicitLayer, ImplicitLayer, add_patches
from lion_ray.methods import paths
from lion_ray.methods.prompt import Prompt

Layer = ImplicitLayer | ExplicitLayer


class EquilibriumPrompt(Prompt):
    """`x + V z*` with `V` starting at zero; leaves say what `V` is."""

    def __init__(self, layer: Layer, lr_multiplier: float) -> None:
        super().__init__()
        self.equilibrium = layer
        self.lr_multiplier = lr_multiplier

    V: nn.Parameter

    @property
    def read_out(self) -> Tensor | None:
        """R of a low-rank V R."""
        return None

    def acting(self) -> dict[str, Tensor]:
        """By name, the entries of U, W, b, V and R on paths that can act (see `paths`)."""
        acting = [units.acting for units in self._units()]
        last, V, R = acting[-1], self.V, self.read_out
        found: dict[str, Tensor] = {}
        for index, (name, cell) in enumerate(self._cells().items()):
            own = acting[index]
            found |= {f"{name}.b": own, f"{name}.U": _rows(own, cell.U)}
            if self._is_recurrent or index:  # the first W of an explicit stack never acts
                before = own if self._is_recurrent else acting[index - 1]
                found[f"{name}.W"] = paths.edges(own, before, cell.W, _groups(cell))
        if R is None:
            return found | {"V": last.expand(V.shape) if V.dim() == 2 else _rows(last, V)}
        ranks = paths.ranks_heard(V, R)
        return found | {
            "V": ranks.expand(V.shape),
            "R": ranks[:, None] & last.repeat_interleave(R.shape[1] // len(last)),
        }

    def has_path(self) -> bool:
        """Whether surviving weights lead from the input to the output; without, it adds the same to every input."""
        return paths.has_path(self._units())

    @property
    def is_switchable(self) -> bool:
        """Yes."""
        return True

    @property
    def _is_recurrent(self) -> bool:
        return isinstance(self.equilibrium, ImplicitLayer)

    def _cells(self) -> dict[str, Cell]:
        named = self.equilibrium.named_modules(prefix="equilibrium")
        return {name: module for name, module in named if isinstance(module, Cell)}

    def _units(self) -> list[paths.Units]:
        """Of each cell."""
        cells = list(self._cells().values())
        return paths.units_of(
            [(cell.W, cell.U) for cell in cells],
            paths.written_units(self.V, self.read_out, len(cells[-1].b)),
            groups=_groups(cells[0]),
            is_recurrent=self._is_recurrent,
        )

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
        return add_patches(x, self.equilibrium(x), self.V.to(x.dtype))


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

    @property
    def read_out(self) -> Tensor:
        """R."""
        return self.R

    def forward(self, x: Tensor) -> Tensor:
        """The prompted features."""
        return x[:, : self.num_features] + self.added(x)

    def added(self, x: Tensor) -> Tensor:
        """`V2 R2 a(z2*)`."""
        maps = x[:, self.num_features :]
        z = self.equilibrium(maps.reshape(x.shape[0], -1, self.grid, self.grid))
        fields = averaged(z, self.readout).flatten(1)
        return F.linear(F.linear(fields, self.R.to(x.dtype)), self.V.to(x.dtype))


def _rows(units: Tensor, weight: Tensor) -> Tensor:
    """Of the shape of `weight`, whose first axis is that of the units."""
    return units.view(-1, *[1] * (weight.dim() - 1)).expand(weight.shape)


def _groups(cell: Cell) -> int:
    """Of a convolution; a linear cell is one group."""
    return len(cell.W) // cell.W.shape[1]
