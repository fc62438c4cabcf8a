"""VPT-shallow: learned tokens that enter at the first block and go through all of them (Jia et al., ECCV 2022).

All of them are prunable. ViT and Swin; see `vpt` and `windows`, also for what differs from the code (KMnP/vpt).
"""

from __future__ import annotations

from functools import partial

from lion_ray.methods.registry import Method
from lion_ray.methods.vpt import VptOptions, prompted

VPT_SHALLOW = Method(
    name="vpt_shallow",
    options=VptOptions,
    build=partial(prompted, deep=False),
    is_prunable=True,
    brings="learned tokens beside its own",
)
