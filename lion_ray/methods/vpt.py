"""Learned tokens in a ViT's sequence: what `vpt_shallow` and `vpt_deep` share (Jia et al., ECCV 2022).

Tokens stand behind the others instead of in front of them: attention does not tell, and whatever a backbone does with
its class token and patches afterwards stays as it is. They are gone again before the last norm. Where attention turns
queries and keys by their place (RoPE: EVA-02, DINOv3), they stand behind the class and register tokens and are, like
those, not turned.

What differs from the code (KMnP/vpt): it puts tokens between class token and patches and leaves them there to the end,
which the class token does not tell either; its ViT always reads the class token, we read what the backbone reads. It
can drop tokens out in training (`DROPOUT`, by default 0) and project them from fewer channels (`PROJECT`, by default
off); we do neither. They start as the code's do, uniform in ±√(6 / (3 p² + D)) for patches of p pixels, but for Swin:
there D is the width of each block here, and that of the first one in the code.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.tuning import NotApplicable, replace, tuned, uniform
from lion_ray.methods.windows import PromptedStages, has_windows

POSITION = re.compile("rel(ative)?_pos")


class VptOptions(Frozen):
    """How many tokens are learned (at every block, if deep). VPT searches 1 to 200; Swin's 1 to 50."""

    tokens: int = Field(default=10, ge=1, description="Learned tokens, at every block if deep.")


class PromptedBlock(nn.Module):
    """A block that reads `tokens` beside its own input (B, N, D), or none, and keeps `num_dropped` of them back.

    They stand behind the first `place` tokens of the input; None is behind all of them.
    """

    def __init__(self, block: nn.Module, tokens: nn.Parameter | None, num_dropped: int, place: int | None) -> None:
        super().__init__()
        self.block, self.tokens, self._num_dropped, self._place = block, tokens, num_dropped, place

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the block makes of it."""
        if self.tokens is not None:
            own, place = self.tokens.to(x.dtype).expand(x.shape[0], -1, -1), self._place
            x = torch.cat([x, own] if place is None else [x[:, :place], own, x[:, place:]], dim=1)
        out: Tensor = self.block(x, *args, **kwargs)
        if self._place is None:
            return out[:, : out.shape[1] - self._num_dropped]
        if self._num_dropped:
            out = torch.cat([out[:, : self._place], out[:, self._place + self._num_dropped :]], dim=1)
        return out


def prompted(
    options: VptOptions, backbone: Backbone, num_classes: int, generator: torch.Generator, *, deep: bool
) -> AdaptedModel:
    """The model with learned tokens at every block, or at the first one only.

    They start uniform in ±√(6 / (3 p² + D)) for patches of p pixels and D channels, as VPT's.
    """
    own = backbone.own()
    widths = _widths(own.model)
    patch = math.prod(own.model.patch_embed.patch_size)  # type: ignore[union-attr, arg-type]
    shapes = [(1, options.tokens, width) for width in (widths if deep else widths[:1])]
    tokens = [uniform(shape, math.sqrt(6 / (3 * patch + shape[2])), generator) for shape in shapes]
    names = (_in_stages if has_windows(own.model) else _in_blocks)(own.model, tokens)
    return tuned(own, num_classes, generator, prunable=names)


def _widths(model: nn.Module) -> list[int]:
    """The channels at every block of a transformer."""
    if has_windows(model):
        return [block.dim for stage in model.layers for block in stage.blocks]  # type: ignore[union-attr]
    blocks: Any = getattr(model, "blocks", ())
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if not blocks or not all(hasattr(block, "attn") for block in blocks):
        raise NotApplicable("it has no sequence of tokens that attention reads (ViT, Swin); use vpt_pad")
    if not isinstance(patch, tuple):
        raise NotApplicable("timm does not say the size of its patches, by which learned tokens start; use adapter")
    if any(POSITION.search(name) for name, _ in model.named_parameters()):
        raise NotApplicable(
            "its attention has learned a bias for every two places, and tokens without a place have none; use adapter"
        )
    if _is_rotary(model) and not all(hasattr(block.attn, "num_prefix_tokens") for block in blocks):
        raise NotApplicable("its attention turns every token by its place and lets no other in; use adapter")
    return [int(model.embed_dim)] * len(blocks)  # type: ignore[arg-type]


def _is_rotary(model: nn.Module) -> bool:
    """Whether attention turns queries and keys by the place of their token (RoPE), all but those of a prefix."""
    return getattr(model, "rope", None) is not None


def _in_blocks(model: nn.Module, tokens: list[nn.Parameter]) -> list[str]:
    """Put `tokens` into a ViT's blocks, one each or all through from the first; their names."""
    blocks: Any = model.blocks
    last, number, is_deep = len(blocks) - 1, tokens[0].shape[1], len(tokens) > 1
    place = int(model.num_prefix_tokens) if _is_rotary(model) else None  # type: ignore[arg-type]
    for index, block in enumerate(list(blocks)):
        own = tokens[index] if index < len(tokens) else None
        ends = index == last or is_deep
        if place is not None:
            block.attn.num_prefix_tokens += number  # learned tokens have no place, and are not turned
        if own is not None or ends:
            replace(model, f"blocks.{index}", PromptedBlock(block, own, number if ends else 0, place))
    return [f"blocks.{index}.tokens" for index in range(len(tokens))]


def _in_stages(model: nn.Module, tokens: list[nn.Parameter]) -> list[str]:
    """Put `tokens` into a Swin's windows; their names."""
    model.layers = PromptedStages(model.layers, tokens)  # type: ignore[arg-type]
    return [f"layers.tokens.{index}" for index in range(len(tokens))]
