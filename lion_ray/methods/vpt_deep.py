"""VPT-deep: tokens of their own at every block; what a block makes of them is dropped (Jia et al., ECCV 2022).

All of them are prunable. ViT and Swin; see `vpt` and `windows`, also for what differs from the code (KMnP/vpt), whose
options to share tokens between blocks, or to have them at some blocks alone, we do not have.
"""

from __future__ import annotations

from functools import partial

from lion_ray.methods.registry import Method
from lion_ray.methods.vpt import VptOptions, prompted

VPT_DEEP = Method(
    name="vpt_deep",
    options=VptOptions,
    build=partial(prompted, deep=True),
    is_prunable=True,
    brings="learned tokens beside its own",
)
