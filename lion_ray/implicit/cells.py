"""The cells f(z; u) = tanh(W z + U u + b) whose equilibria are the implicit prompts.

`inject` computes U u + b once per solve, `step` is then the only work per evaluation, and `vjp` is the analytic
transposed product the backward solve repeats. W keeps the state's shape; only U changes resolution.
Built by the methods, run by `layer.ImplicitLayer`, kept inside the bound by `projection.project_`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lion_ray.implicit.rows import linear_rows

INITIAL_BOUND = 0.4  # 1-norm of each row of a fresh W: inside any gamma in use, and far from linear collapse.


class Cell(nn.Module, ABC):
    """One layer with state; parameters `W` (recurrent), `U` (injection), `b` (bias)."""

    W: nn.Parameter
    U: nn.Parameter
    b: nn.Parameter

    @abstractmethod
    def inject(self, u: Tensor) -> Tensor:
        """U u + b, in the state's shape."""

    @abstractmethod
    def recur(self, weight: Tensor, z: Tensor) -> Tensor:
        """weight z, in fresh memory."""

    @abstractmethod
    def pull_back(self, weight: Tensor, y: Tensor) -> Tensor:
        """weight^T y."""

    def step(self, z: Tensor, injected: Tensor) -> Tensor:
        """One evaluation f(z; u) = tanh(W z + injected)."""
        return self.recur(self.W, z).add_(injected).tanh_()

    def zero_state(self, injected: Tensor) -> Tensor:
        """The starting point of every solve."""
        return torch.zeros_like(injected)

    def slope(self, z_star: Tensor) -> Tensor:
        """tanh' at an equilibrium, from its value: 1 - z*^2."""
        return 1 - z_star.square()

    def vjp(self, z_star: Tensor, y: Tensor) -> Tensor:
        """J^T y at the equilibrium: W^T ((1 - z*^2) * y)."""
        return self.pull_back(self.W, self.slope(z_star) * y)

    def bound(self) -> Tensor:
        """||W||_inf: the largest row sum |w|, summed in float64. A convolution's row is an output channel's kernel."""
        return self.W.detach().double().abs().flatten(1).sum(1).amax()


class LinearCell(Cell):
    """Linear maps: u (B, ..., input_size), z (B, ..., state_size); W (d, d), U (d, input_size), b (d,)."""

    def __init__(self, input_size: int, state_size: int, *, generator: torch.Generator) -> None:
        super().__init__()
        _check_positive(input_size=input_size, state_size=state_size)
        self.W = nn.Parameter(_recurrent_init((state_size, state_size), generator))
        self.U = nn.Parameter(_injection_init((state_size, input_size), generator))
        self.b = nn.Parameter(torch.zeros(state_size))

    def inject(self, u: Tensor) -> Tensor:
        return linear_rows(u, self.U) + self.b

    def recur(self, weight: Tensor, z: Tensor) -> Tensor:
        return linear_rows(z, weight)

    def pull_back(self, weight: Tensor, y: Tensor) -> Tensor:
        return linear_rows(y, weight.t())


class ConvCell(Cell):
    """Convolutions: u (B, in_channels, H, W), z (B, state_channels, ceil(H / stride), ceil(W / stride)).

    W (c, c / groups, k, k) has stride 1 and zero same-padding. U (c, in_channels, stride, stride) reads patches that do
    not overlap; zeros fill the last ones where stride does not divide H or W. W joins the patches.
    """

    def __init__(
        self,
        in_channels: int,
        state_channels: int,
        kernel_size: int = 3,
        stride: int = 4,
        groups: int = 1,
        dilation: int = 1,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        _check_positive(in_channels=in_channels, state_channels=state_channels, kernel_size=kernel_size)
        _check_positive(stride=stride, groups=groups, dilation=dilation)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}: W keeps the resolution, so it must be odd")
        if state_channels % groups != 0:
            raise ValueError(f"groups is {groups}: it must divide state_channels {state_channels}")
        self.stride, self.groups, self.dilation = stride, groups, dilation
        self.padding = dilation * (kernel_size // 2)
        recurrent = (state_channels, state_channels // groups, kernel_size, kernel_size)
        self.W = nn.Parameter(_recurrent_init(recurrent, generator))
        self.U = nn.Parameter(_injection_init((state_channels, in_channels, stride, stride), generator))
        self.b = nn.Parameter(torch.zeros(state_channels))

    def inject(self, u: Tensor) -> Tensor:
        height, width = u.shape[-2:]
        missing = (-height % self.stride, -width % self.stride)
        patches = F.pad(u, (0, missing[1], 0, missing[0])) if any(missing) else u
        return F.conv2d(patches, self.U, self.b, stride=self.stride)

    def recur(self, weight: Tensor, z: Tensor) -> Tensor:
        return F.conv2d(z, weight, padding=self.padding, groups=self.groups, dilation=self.dilation)

    def pull_back(self, weight: Tensor, y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, weight, padding=self.padding, groups=self.groups, dilation=self.dilation)


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: it must be at least 1")


def _recurrent_init(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform entries, each row scaled to the 1-norm INITIAL_BOUND."""
    weight = torch.empty(shape).uniform_(-1, 1, generator=generator)
    rows = weight.flatten(1)
    return (rows * (INITIAL_BOUND / rows.abs().sum(1, keepdim=True))).reshape(shape)


def _injection_init(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform entries of variance 1 / fan-in (Kaiming with gain 1): unit inputs give unit injections."""
    limit = math.sqrt(3 / math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-limit, limit, generator=generator)
