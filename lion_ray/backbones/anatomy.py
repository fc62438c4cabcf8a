"""The parts of a timm model that methods speak of: its classifier, its blocks in order, what of it never acts."""

from __future__ import annotations

from torch import nn

_UNHEARD = {  # by timm's class
    "ClassAttn": ("k.bias",),
    "GPSA": ("pos_proj.bias",),
    "TalkingHeadAttn": ("proj_l.bias",),
    "Attention2d": ("k.conv.bias", "k.bn.bias", "talking_head1.bias"),
    "MultiScaleAttention": ("norm_k.bias",),
    "MultiScaleAttentionPoolFirst": ("norm_k.bias",),
    "Attention2dDownsample": ("k.conv.bias", "k.bn.bias"),
}
_END = "\0"  # a name that no matcher knows: it falls among what stands behind the last block


def classifier_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters of the model's own classifier."""
    classifier = model.get_classifier()  # type: ignore[operator]
    modules = classifier if isinstance(classifier, (tuple, list)) else [classifier]
    ids = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in ids}


def without_effect(model: nn.Module) -> set[str]:
    """Names of biases that change nothing whatever they are, whether the model has them or not.

    A softmax does not see what is added to all its scores: the bias of keys (class attention of CaiT and XCiT, MViT,
    places in ConViT, EfficientFormerV2), or of talking heads before it (CaiT). The difference `pool(x) - x` does not
    see what its norm shifts (PoolFormer). BEiT's, EVA's and Swin V2's attention has biases of its own in the place of
    its layer's.
    """
    found = set[str]()
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in _UNHEARD:
            found |= {f"{name}.{bias}" for bias in _UNHEARD[kind]}
        elif getattr(module, "q_bias", None) is not None:
            found.add(f"{name}.qkv.bias")
        elif kind == "Pooling" and name.endswith(".token_mixer"):
            found.add(f"{name.removesuffix('token_mixer')}norm1.bias")
    return found


def parameters_by_block(model: nn.Module) -> list[list[str]]:
    """Names of all parameters but the classifier's: those of the stem, then block by block towards the features.

    The order is timm's own, by which it decays learning rates. What follows the last block, such as a last norm,
    belongs to it.

    Raises:
        LookupError: timm does not say.
    """
    from timm.models._manipulate import group_with_matcher  # timm takes seconds to import

    names = [(name, name) for name, _ in model.named_parameters()]
    if not hasattr(model, "group_matcher"):
        raise LookupError("timm does not say what its blocks are")
    matcher = model.group_matcher(coarse=False)  # type: ignore[operator]
    *stem_and_blocks, head = group_with_matcher([*names, (_END, _END)], matcher, return_values=True).values()
    stem_and_blocks[-1] += head
    unused = classifier_parameters(model) | {_END}
    return [[name for name in group if name not in unused] for group in stem_and_blocks]
