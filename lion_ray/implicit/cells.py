"""The cells f(z; u) = tanh(W z + U u + b) whose equilibria are the implicit prompts.

`inject` computes U u + b once per solve, so `step` is the only work per evaluation. The backward solve repeats the
transposed product, which is analytic. W keeps the state's shape; only U changes the resolution.
`lion_ray.methods.lion` builds the cells, `layer` runs them, and `projection.project_` keeps W inside its bound. The
cell for images is in `convolution`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lion_ray.implicit.rows import linear_rows

INITIAL_BOUND = 0.4  # 1-norm of each row of an initial W: below every gamma in use, and far from 0


class Cell(nn.Module, ABC):
    """The map f(z; u) of an equilibrium layer, with parameters `W` (recurrent), `U` (injection) and `b` (bias)."""

    W: nn.Parameter
    U: nn.Parameter
    b: nn.Parameter

    @abstractmethod
    def inject(self, u: Tensor) -> Tensor:
        """U u + b (B, ...), in the state's shape and in the memory layout that all states of the solve keep."""

    @abstractmethod
    def recur(self, weight: Tensor, z: Tensor) -> Tensor:
        """The product of `weight` and the state `z`, as a new tensor that may be changed in place."""

    @abstractmethod
    def pull_back(self, weight: Tensor, y: Tensor) -> Tensor:
        """The transposed product weight^T y for y in the state's shape."""

    @abstractmethod
    def weight_gradient(self, z: Tensor, y: Tensor) -> Tensor:
        """The gradient of <y, W z> with respect to W, summed over the batch, in the shape of W."""

    def step(self, z: Tensor, injected: Tensor) -> Tensor:
        """One evaluation f(z; u) = tanh(W z + injected)."""
        return self.recur(self.W, z).add_(injected).tanh_()

    def start(self, injected: Tensor) -> Tensor:
        """The starting point of every solve, f(0; u). It needs no product with W."""
        return injected.tanh()

    def slope(self, z_star: Tensor) -> Tensor:
        """The derivative of tanh at an equilibrium, computed from its value: 1 - z*^2."""
        return 1 - z_star.square()

    def vjp(self, z_star: Tensor, y: Tensor) -> Tensor:
        """The vector-Jacobian product J^T y at the equilibrium: W^T ((1 - z*^2) * y)."""
        return self.pull_back(self.W, self.slope(z_star) * y)

    def bound(self) -> Tensor:
        """||W||_inf, the largest row sum of |w|, in float64. A convolution's row is an output channel's kernel."""
        return self.W.detach().double().abs().flatten(1).sum(1).amax()


class LinearCell(Cell):
    """A cell of linear maps: u (B, ..., input_size) and z (B, ..., d), with W (d, d), U (d, input_size) and b (d,).

    Args:
        input_size: features of u.
        state_size: features d of the state.
        generator: source of the initial weights.
    """

    def __init__(self, input_size: int, state_size: int, *, generator: torch.Generator) -> None:
        super().__init__()
        check_positive(input_size=input_size, state_size=state_size)
        self.W = nn.Parameter(recurrent_init((state_size, state_size), generator))
        self.U = nn.Parameter(injection_init((state_size, input_size), generator))
        self.b = nn.Parameter(torch.zeros(state_size))

    def inject(self, u: Tensor) -> Tensor:
        return linear_rows(u, self.U) + self.b

    def recur(self, weight: Tensor, z: Tensor) -> Tensor:
        return linear_rows(z, weight)

    def pull_back(self, weight: Tensor, y: Tensor) -> Tensor:
        return linear_rows(y, weight.t())

    def weight_gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return y.flatten(0, -2).t() @ z.flatten(0, -2)


def check_positive(**sizes: int) -> None:
    """Raise a ValueError that names the first size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: it must be at least 1")


def recurrent_init(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Initial W of `shape`: uniform entries, each row scaled to the 1-norm `INITIAL_BOUND`."""
    weight = torch.empty(shape).uniform_(-1, 1, generator=generator)
    rows = weight.flatten(1)
    return (rows * (INITIAL_BOUND / rows.abs().sum(1, keepdim=True))).reshape(shape)


def injection_init(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Initial U of `shape`: uniform entries of variance 1 / fan-in (Kaiming, gain 1), so U u keeps the scale of u."""
    limit = math.sqrt(3 / math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-limit, limit, generator=generator)
