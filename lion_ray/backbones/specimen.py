"""A backbone on which a trial tells something: random weights, but without the constants that hide whole branches.

timm starts residual branches at zero (the last norm of a block, skip gains) or almost (LayerScale, 1e-6), and batch
statistics at 0 and 1 whatever passes. No pretrained model is like that: there such constants have long moved, and
statistics are those of images. `checking` asks on a specimen whether each trained tensor can change the output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lion_ray.backbones.frozen import Backbone, assemble, blank, transform_of
from lion_ray.config import BackboneConfig

HIDING = 1e-3  # entries that are all below it leave next to nothing of what they multiply
COARSE = 5  # patches along each side of an image
STANDARDISED_SIZE = 10.0  # of a weight that its layer standardises: beside it the layer's epsilon is nothing


def drawn_images(number: int, size: int) -> Tensor:
    """Noise (number, 3, size, size) on coarse patches: attention finds places that differ, as in any picture."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(number, 3, COARSE, COARSE, generator=generator)
    fine = torch.randn(number, 3, size, size, generator=generator)
    return nn.functional.interpolate(coarse, size=(size, size)) + 0.5 * fine


def specimen(config: BackboneConfig) -> Backbone:
    """The backbone with random weights, its constants those of a model that has been trained."""
    model = blank(config)
    transform = transform_of(model, config)
    _move_constants(model)
    _take_statistics(model, transform.size)
    return assemble(model, config.name, transform, "")


@torch.no_grad()
def _move_constants(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.numel() and float(parameter.abs().max()) <= HIDING:
            parameter.copy_(_drawn(name, parameter, generator))
    for module in model.modules():
        if is_standardised(module):
            weight: Tensor = module.weight  # type: ignore[assignment]
            weight.mul_(STANDARDISED_SIZE / weight.std())


def is_standardised(module: nn.Module) -> bool:
    """Whether it is a convolution that standardises its weight, so that any scale of it is undone."""
    return any("StdConv" in kind.__name__ for kind in type(module).__mro__)


def _drawn(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Biases of a tenth; gains and tokens around one; weights that keep the size of what they read."""
    drawn = torch.randn(like.shape, generator=generator)
    if name.endswith("bias"):
        return 0.1 * drawn
    if like.dim() < 2 or like[0].numel() == 1:
        return 0.5 + 0.5 * drawn.abs()
    return drawn if len(like) == 1 else drawn * like[0].numel() ** -0.5


@torch.no_grad()
def _take_statistics(model: nn.Module, size: int) -> None:
    """One scale for each batch norm; no mean, as what little differs from it in drawn images would be blown up."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_scale_to) for norm in norms]
    if hooks:
        model.eval().forward_features(drawn_images(1, size))  # type: ignore[operator]
    for hook in hooks:
        hook.remove()


def _scale_to(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    variance = norm.running_var
    if isinstance(variance, Tensor):
        variance.fill_(inputs[0].square().mean())
