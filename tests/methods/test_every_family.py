"""The methods on every family of backbones: step 0, gradients, what is trained and prunable. Random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lion_ray import backbones, methods
from lion_ray.backbones import Backbone
from lion_ray.config import BackboneConfig, MethodConfig, StudyError

FAMILIES = ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet18", "convnext_atto", "efficientnet_lite0"]


def load(name: str, size: int = 64) -> Backbone:
    size = 56 if name.startswith("swin") else size
    return backbones.load(BackboneConfig(name=name, weights="random", image_size=size))


def images(backbone: Backbone, batch: int = 2) -> torch.Tensor:
    size = backbone.transform.size
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def lion(backbone: Backbone, num_classes: int = 5, **options: Any) -> methods.AdaptedModel:
    return methods.build(MethodConfig(name="lion", **options), backbone, num_classes=num_classes, seed=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_at_step_0_lion_gives_the_backbones_features_exactly(name: str) -> None:
    backbone = load(name)
    model, x = lion(backbone), images(backbone)
    with torch.no_grad():
        features = model.body(x)
        assert torch.equal(features, backbone(x))
        assert torch.equal(model.head.prompt(features), features)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_both_prompts_through_the_frozen_backbone(name: str) -> None:
    backbone = load(name)
    model, x = lion(backbone), images(backbone)
    optimizer = torch.optim.SGD(model.parameter_groups(0.01))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    for _ in range(2):  # V leaves zero in the first step, the cells follow in the second
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        model.project_()
    for key, parameter in model.trained().items():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.abs().sum() > 0), key
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("size", [64, 65, 67])
def test_the_input_prompt_keeps_any_image_size(size: int) -> None:
    model = lion(load("resnet18"))
    with torch.no_grad():
        model.body.prompt.V.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[operator]
        x = torch.randn(2, 3, size, size)
        assert model.body.prompt(x).shape == x.shape


def test_parameter_counts_are_the_closed_form() -> None:
    backbone = load("resnet18")
    model = lion(backbone, num_classes=7, input={"channels": 8, "stride": 2, "kernel": 5}, output={"width": 16})
    counts = {name: parameter.numel() for name, parameter in model.trained().items()}
    input_prompt = 8 * 8 * 5 * 5 + 2 * (3 * 8 * 2 * 2) + 8
    output_prompt = 16 * 16 + 2 * (512 * 16) + 16
    assert sum(counts.values()) == input_prompt + output_prompt + 7 * 512 + 7
    prunable = sum(counts[name] for name in model.prunable())
    assert prunable == input_prompt + output_prompt - 8 - 16  # biases stay


def test_the_linear_probe_trains_the_classifier_alone_on_fixed_features() -> None:
    model = methods.build(MethodConfig(name="linear"), load("resnet18"), num_classes=3, seed=0)
    assert set(model.trained()) == {"head.classifier.weight", "head.classifier.bias"}
    assert model.features_are_fixed
    assert model.prunable() == ()


def test_without_the_input_prompt_features_are_fixed() -> None:
    assert lion(load("resnet18"), input=False).features_are_fixed
    assert not lion(load("resnet18"), output=False).features_are_fixed


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "broyden"},
        {"solver": "anderson"},
        {"gradient": "one_step"},
        {"gradient": {"neumann": 2}},
        {"gradient": "unrolled"},
        {"cell": "explicit"},
        {"cell": "explicit", "depth": 3},
    ],
)
def test_every_choice_of_solver_gradient_and_cell_trains_both_prompts(options: dict[str, Any]) -> None:
    model, backbone = lion(load("resnet18"), **options), load("resnet18")
    assert torch.equal(model.body(images(backbone)), backbone(images(backbone)))
    optimizer = torch.optim.SGD(model.parameter_groups(0.01))
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(model(images(backbone)).square().sum())
        optimizer.step()
        model.project_()
    for name, parameter in model.trained().items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name
    assert set(model.prunable()) <= set(model.trained())
    assert all(value <= 1 for name, value in model.health().items() if name.endswith("bound_used"))


def test_an_explicit_stack_has_a_w_between_its_layers_only() -> None:
    def shapes(depth: int) -> list[tuple[int, ...]]:
        model = lion(load("resnet18"), input=False, cell="explicit", depth=depth)
        return [tuple(model.trained()[name].shape) for name in model.prunable()]

    assert shapes(1) == [(64, 512), (512, 64)]
    assert shapes(2) == [(64, 512), (64, 64), (64, 512), (512, 64)]


def test_the_seed_fixes_every_draw() -> None:
    backbone = load("resnet18")
    one, same = lion(backbone).trained(), lion(backbone).trained()
    other = methods.build(MethodConfig(name="lion"), backbone, num_classes=5, seed=1).trained()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["body.prompt.equilibrium.cell.U"], other["body.prompt.equilibrium.cell.U"])


def test_the_backbone_stays_in_evaluation_mode() -> None:
    model = lion(load("resnet18"))
    model.train()
    assert not any(module.training for module in model.body.backbone.modules())


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"name": "loin"}, "unknown method 'loin'; did you mean 'lion'?"),
        ({"name": "lion", "gama": 0.5}, "gama: unknown key; did you mean 'gamma'?"),
        ({"name": "lion", "gamma": 1.5}, "gamma: 1.5 is not allowed"),
        ({"name": "lion", "input": {"chanels": 3}}, "input.chanels: unknown key; did you mean 'channels'?"),
        ({"name": "lion", "input": {"kernel": 4}}, "odd"),
        ({"name": "lion", "input": {"groups": 3}}, "divide"),
        ({"name": "lion", "input": False, "output": False}, "use method linear"),
        ({"name": "lion", "depth": 2}, "add cell: explicit"),
        ({"name": "linear", "width": 3}, "width: unknown key"),
    ],
)
def test_wrong_options_are_named(method: dict[str, object], says: str) -> None:
    config = MethodConfig.model_validate(method)
    with pytest.raises(StudyError) as caught:
        methods.options_of(config, source="s.yaml", key="methods.0")
    assert says in str(caught.value)
    assert str(caught.value).startswith("s.yaml: methods.0")
