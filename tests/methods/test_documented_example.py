"""The method that docs/extending.md shows is a whole one: it builds, starts exactly and trains what it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch

from lion_ray import backbones
from lion_ray.config import BackboneConfig
from lion_ray.methods import Method

PAGE = Path(__file__).parent.parent.parent / "docs" / "extending.md"


@pytest.fixture
def factors(monkeypatch: pytest.MonkeyPatch) -> Method:
    """The page's code as a module."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    module = types.ModuleType("lion_ray.methods.factors")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # pydantic looks its annotations up there
    exec(code, vars(module))  # noqa: S102 (our own page)
    made = module.FACTORS
    assert isinstance(made, Method)
    return made


def test_the_example_starts_as_the_frozen_backbone_and_trains_its_factors(factors: Method) -> None:
    backbone = backbones.load(BackboneConfig(name="test_resnet", weights="random", image_size=32))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    options = factors.options(lr_multiplier=2.0)  # type: ignore[call-arg]
    model = factors.build(options, backbone, num_classes=3, generator=torch.Generator().manual_seed(0))
    features = backbone(images)
    assert torch.equal(model(images), model.head.classifier(features))
    assert factors.is_prunable
    assert model.prunable() == ("head.prompt.s",)
    assert model.features_are_fixed
    assert [group["lr"] for group in model.parameter_groups(0.1)] == [0.2, 0.1]
    torch.nn.functional.cross_entropy(model(images), torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    gradient = model.trained()["head.prompt.s"].grad
    assert gradient is not None
    assert bool(gradient.any())
