"""What every method builds: a body (images to features) and a head (features to logits) around one frozen backbone.

`training` trains `AdaptedModel.trained()` and nothing else. Where the body trains nothing its features are fixed, so
they are computed once and only the head is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lion_ray.backbones import Backbone, Maps
from lion_ray.methods.prompt import Features, PartlyActing, Prompt


def contiguous_copy(tensor: Tensor) -> Tensor:
    """On the CPU."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


class Body(nn.Module):
    """`h = F(prompt(x))`: normalised images (B, 3, S, S) to pooled features (B, D), `maps` behind them if asked for.

    Args:
        backbone: the shared one, or one of the method's own with trained tensors in it.
        prunable: which of those lottery rounds may prune, by their names in `backbone.model`.
    """

    def __init__(
        self, backbone: Backbone, prompt: Prompt, *, maps: Maps | None = None, prunable: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.prompt = prompt
        self.maps = maps
        self._prunable = tuple(f"backbone.model.{name}" for name in prunable)

    def prunable(self) -> tuple[str, ...]:
        """Names, among this module's parameters, of the weights that lottery rounds may prune."""
        return *(f"prompt.{name}" for name in self.prompt.prunable()), *self._prunable

    @cached_property
    def num_outputs(self) -> int:
        """Columns of a row that `forward` makes: D, and with maps C g g more."""
        maps = self.maps
        return self.backbone.num_features + (maps.num_channels(self.backbone) * maps.grid**2 if maps else 0)

    def forward(self, images: Tensor) -> Tensor:
        """Features; gradients reach the prompt through the backbone."""
        x = self.prompt(images)
        features: Tensor = self.maps.read(self.backbone, x) if self.maps else self.backbone(x)
        return features


class Head(nn.Module):
    """`logits = C prompt(h)`: features (B, D) to logits (B, num_classes).

    Args:
        auxiliary: weight in training of the loss that the prompt alone has, `C (prompt(h) - h)` [this project's].
    """

    def __init__(
        self, prompt: Prompt, num_features: int, num_classes: int, generator: torch.Generator, auxiliary: float = 0.0
    ) -> None:
        super().__init__()
        self.prompt = prompt
        self.auxiliary = auxiliary
        self.classifier = nn.Linear(num_features, num_classes)
        with torch.no_grad():
            self.classifier.weight.normal_(0.0, 0.01, generator=generator)
            self.classifier.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(self.prompt(features))
        return logits

    def both(self, features: Tensor) -> Tensor:
        """Logits, and those of the prompt alone: (B, 2, num_classes)."""
        added = self.prompt.added(features)
        prompted = features[:, : added.shape[1]] + added
        both: Tensor = self.classifier(torch.stack([prompted, added], 1))
        return both


class AdaptedModel(nn.Module):
    """A method on a backbone: `forward` maps normalised images (B, 3, S, S) to logits (B, num_classes).

    `classes` names the logits of a model that a ticket gave, and `precision` is what it computes in; during training
    the one is empty and the other is left to what surrounds the model.
    """

    classes: tuple[str, ...] = ()
    precision: Literal["fp32", "bf16"] | None = None
    _fixed_features_in_fp32 = False

    def __init__(self, body: Body, head: Head) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        if self.precision != "bf16":
            logits: Tensor = self.head(self.body(images))
            return logits
        device = images.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=not self._fixed_features_in_fp32):
            features = self.body(images)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = self.head(features)
        return logits.float()

    def compute_in(self, precision: Literal["fp32", "bf16"]) -> None:
        """From now on as experiments of this `train.precision` are evaluated: fixed features are always fp32."""
        self.precision, self._fixed_features_in_fp32 = precision, self.features_are_fixed

    @property
    def features_are_fixed(self) -> bool:
        """Whether nothing before the features is trained."""
        return not any(parameter.requires_grad for parameter in self.body.parameters())

    @property
    def trained_part(self) -> Head | AdaptedModel:
        """What is trained and evaluated: the head on features where those are fixed, else the whole model on images."""
        return self.head if self.features_are_fixed else self

    def trained(self) -> dict[str, nn.Parameter]:
        """All trained tensors by name: `body.backbone...`, `body.prompt...`, `head.prompt...`, `head.classifier...`."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def prunable(self) -> tuple[str, ...]:
        """Names, among `trained()`, of the weights that lottery rounds may prune."""
        body, head = self.body.prunable(), self.head.prompt.prunable()
        return *(f"body.{name}" for name in body), *(f"head.prompt.{name}" for name in head)

    def acting(self) -> dict[str, Tensor]:
        """By the name of a trained tensor, on the CPU: its entries that can change the logits; absent where all can.

        Inside a backbone that is itself trained, nothing is followed: all of it counts.
        """
        return {
            f"{place}.{name}": entries.cpu()
            for place, module in self.named_modules()
            if isinstance(module, PartlyActing) and module is not self
            for name, entries in module.acting().items()
        }

    def without_path(self) -> tuple[str, ...]:
        """Which of LION's prompts, `input` and `output`, nothing leads through: they add the same to every input."""
        named = {"input": self.body.prompt, "output": self.head.prompt}
        return tuple(name for name, prompt in named.items() if not prompt.has_path())

    def without_prompts(self) -> AdaptedModel | None:
        """The same frozen backbone and classifier with the prompts switched off; None for a method that has none.

        Where the body is fixed it stays, so that features which are at hand do.
        """
        if not any(prompt.is_switchable for _, prompt in self._prompts()):
            return None
        body = self.body if self.features_are_fixed else Body(self.body.backbone, Prompt())
        num_features = self.body.backbone.num_features
        head = Head(Features(num_features), num_features, self.head.classifier.out_features, torch.Generator())
        head.classifier = self.head.classifier
        return AdaptedModel(body, head)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Optimizer groups with their learning rates: the prompts, the backbone's trained part, the classifier."""
        prompts = [(list(prompt.parameters()), lr * prompt.lr_multiplier) for _, prompt in self._prompts()]
        backbone = [parameter for parameter in self.body.backbone.parameters() if parameter.requires_grad]
        groups = [*prompts, (backbone, lr), (list(self.head.classifier.parameters()), lr)]
        return [{"params": parameters, "lr": rate} for parameters, rate in groups if parameters]

    def project_(self) -> None:
        """Restore every prompt's constraint, in place; call after each optimizer step."""
        for _, prompt in self._prompts():
            prompt.project_()

    def health(self) -> dict[str, float]:
        """Every prompt's health since the last call, as `body.prompt.residual_max` and so on."""
        return {f"{place}.{key}": value for place, prompt in self._prompts() for key, value in prompt.health().items()}

    def copy_trained(self) -> dict[str, Tensor]:
        """The trained tensors as files hold them: copies on the CPU, contiguous whatever their layout here."""
        return {name: contiguous_copy(parameter) for name, parameter in self.trained().items()}

    @torch.no_grad()
    def load_trained(self, weights: Mapping[str, Tensor]) -> None:
        """Copy `weights` over the trained tensors.

        Raises:
            ValueError: names are missing or left over, or a shape differs.
        """
        trained = self.trained()
        if trained.keys() != weights.keys():
            raise ValueError(f"trained tensors differ: {sorted(trained.keys() ^ weights.keys())}")
        for name, parameter in trained.items():
            if parameter.shape != weights[name].shape:
                raise ValueError(f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(parameter.shape)}")
            parameter.copy_(weights[name])

    def _prompts(self) -> Iterator[tuple[str, Prompt]]:
        yield "body.prompt", self.body.prompt
        yield "head.prompt", self.head.prompt
