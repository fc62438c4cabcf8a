"""VPT-shallow: learned tokens that enter at the first block and go through all of them (Jia et al., ECCV 2022).

All of them are prunable. ViT and Swin; see `vpt` and `windows`.
"""

from __future__ import annotations

from functools import partial

from lion_ray.methods.registry import Method, always
from lion_ray.methods.vpt import VptOptions, prompted

VPT_SHALLOW = Method(
    name="vpt_shallow",
    options=VptOptions,
    build=partial(prompted, deep=False),
    is_prunable=True,
    may_not_apply=always,
)
