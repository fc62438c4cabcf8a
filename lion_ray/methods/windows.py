"""Learned tokens in the windows of a Swin, as VPT puts them there (Jia et al., ECCV 2022, and its code).

Every window attends to the tokens beside its own patches, without a position bias for them; what the windows make of
one token is averaged. Where patches are merged, four copies of a token are merged into one.

What differs from the code (KMnP/vpt, `vit_prompt/swin_transformer.py`): it averages tokens together with patches into
the features, we average patches alone, as the backbone does. It repeats the tokens of a batch window by window while
the windows lie image by image, so an image may meet the tokens that another one has changed; here each has its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def has_windows(model: nn.Module) -> bool:
    """Whether `model` is a Swin (V1): stages of blocks whose attention has windows and a position bias."""
    layers: Any = getattr(model, "layers", ())
    blocks = [block for stage in layers for block in getattr(stage, "blocks", ())]
    return bool(blocks) and all(hasattr(getattr(block, "attn", None), "_get_rel_pos_bias") for block in blocks)


class PromptedStages(nn.Module):
    """A Swin's stages, patches (B, H, W, C) in and out; `tokens` (1, n, C) of every block, or of the first alone."""

    def __init__(self, stages: nn.Module, tokens: list[nn.Parameter]) -> None:
        super().__init__()
        self.stages, self.tokens = stages, nn.ParameterList(tokens)

    def forward(self, x: Tensor) -> Tensor:
        """The patches after the last stage; the tokens go."""
        learned = [each.to(x.dtype).expand(x.shape[0], -1, -1) for each in self.tokens]
        is_deep, tokens = len(learned) > 1, learned[0]
        stages: Any = self.stages
        for stage in stages:
            if not isinstance(stage.downsample, nn.Identity):
                x = stage.downsample(x)
                tokens = stage.downsample.reduction(stage.downsample.norm(tokens.repeat(1, 1, 4)))
            for block in stage.blocks:
                x, tokens = _block(block, x, learned.pop(0) if is_deep else tokens)
        return x


def _block(block: Any, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """timm's block on patches (B, H, W, C) and tokens (B, n, C)."""
    change, tokens_change = _attention(block, block.norm1(x), block.norm1(tokens))
    x, tokens = x + change, tokens + tokens_change
    return x + block.mlp(block.norm2(x)), tokens + block.mlp(block.norm2(tokens))


def _attention(block: Any, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """timm's shifted windows, each with the tokens in it."""
    batch, height, width, channels = x.shape
    (rows, columns), shift = block.window_size, block.shift_size
    x = F.pad(x.roll((-shift[0], -shift[1]), (1, 2)), (0, 0, 0, -width % columns, 0, -height % rows))
    down, across = x.shape[1] // rows, x.shape[2] // columns
    mask = block.get_attn_mask(x) if getattr(block, "dynamic_mask", False) else block.attn_mask
    windows = x.view(batch, down, rows, across, columns, channels).transpose(2, 3)
    windows = windows.reshape(batch, down * across, rows * columns, channels)
    out, tokens = _windows(block.attn, windows, tokens, mask)
    x = out.reshape(batch, down, across, rows, columns, channels).transpose(2, 3).reshape(x.shape)
    return x[:, :height, :width].roll((shift[0], shift[1]), (1, 2)), tokens


def _windows(attention: Any, windows: Tensor, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention in each of `windows` (B, W, N, C) joined with `tokens` (B, n, C); `mask` (W, N, N) of shifted ones."""
    num_windows, length, count = windows.shape[1], windows.shape[2], tokens.shape[1]
    joined = torch.cat([windows, tokens[:, None].expand(-1, num_windows, -1, -1)], dim=2)
    bias = attention._get_rel_pos_bias()[None]  # (1, 1, heads, N, N)
    bias = F.pad(bias if mask is None else bias + mask[None, :, None], (0, count, 0, count))
    queries, keys, values = attention.qkv(joined).unflatten(3, (3, attention.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias.to(queries.dtype))
    out = attention.proj(out.transpose(2, 3).flatten(3))
    return out[:, :, :length], out[:, :, length:].mean(1)
