"""The parts of a timm model that methods speak of: its classifier, which no method uses, and its blocks in order."""

from __future__ import annotations

from torch import nn

_END = "\0"  # a name that no matcher knows: it falls among what stands behind the last block


def classifier_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters of the model's own classifier."""
    classifier = model.get_classifier()  # type: ignore[operator]
    modules = classifier if isinstance(classifier, (tuple, list)) else [classifier]
    ids = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in ids}


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
