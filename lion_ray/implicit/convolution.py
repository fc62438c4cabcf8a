"""The convolutional cell of the input prompt: a state of a few maps at 1/stride of the image's resolution.

States are kept in channels_last order, in which patch products and the small convolutions are 1.6 times as fast as in
the standard order. `lion_ray.methods.lion` builds this cell.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from lion_ray.implicit.cells import Cell, check_positive, injection_init, recurrent_init
from lion_ray.implicit.patches import read_patches


class ConvCell(Cell):
    """A cell of convolutions: u (B, in_channels, H, W) and z (B, c, ceil(H / stride), ceil(W / stride)).

    W (c, c / groups, k, k) has stride 1 and zero same-padding. U (c, in_channels, stride, stride) reads patches that do
    not overlap; the last ones are filled with zeros where stride does not divide H or W. Only W connects patches.

    Args:
        in_channels: channels of u.
        state_channels: channels c of the state.
        kernel_size: side k of W's kernel, odd.
        stride: side of the patches that U reads, in pixels.
        groups: groups of W; it divides `state_channels`.
        dilation: dilation of W.
        generator: source of the initial weights.

    Raises:
        ValueError: a size is out of range.
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
        check_positive(in_channels=in_channels, state_channels=state_channels, kernel_size=kernel_size)
        check_positive(stride=stride, groups=groups, dilation=dilation)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}: W keeps the resolution, so it must be odd")
        if state_channels % groups != 0:
            raise ValueError(f"groups is {groups}: it must divide state_channels {state_channels}")
        self.stride, self.groups, self.dilation = stride, groups, dilation
        self.padding = dilation * (kernel_size // 2)
        recurrent = (state_channels, state_channels // groups, kernel_size, kernel_size)
        self.W = nn.Parameter(recurrent_init(recurrent, generator))
        self.U = nn.Parameter(injection_init((state_channels, in_channels, stride, stride), generator))
        self.b = nn.Parameter(torch.zeros(state_channels))

    def inject(self, u: Tensor) -> Tensor:
        return read_patches(u, self.U).add_(self.b[:, None, None])

    def recur(self, weight: Tensor, z: Tensor) -> Tensor:
        return F.conv2d(z, weight, padding=self.padding, groups=self.groups, dilation=self.dilation)

    def pull_back(self, weight: Tensor, y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, weight, padding=self.padding, groups=self.groups, dilation=self.dilation)

    def weight_gradient(self, z: Tensor, y: Tensor) -> Tensor:
        gradient: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            z, self.W.shape, y, padding=self.padding, groups=self.groups, dilation=self.dilation
        )
        return gradient
