"""What LION's output prompt may read beside pooled features: mid-level maps, the last map, the image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from lion_ray import methods
from lion_ray.backbones import Maps, middle, num_maps
from lion_ray.config import MethodConfig, StudyError
from tests.methods.test_every_family import FAMILIES, images, load

SOURCES = ["stages", "map", "image"]


def build(name: str, num_classes: int = 5, **output: Any) -> methods.AdaptedModel:
    config = MethodConfig.model_validate({"name": "lion", "input": False, "output": output})
    return methods.build(config, load(name), num_classes=num_classes, seed=0)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("source", SOURCES)
def test_at_step_0_every_source_leaves_the_backbones_features_alone(name: str, source: str) -> None:
    model, backbone = build(name, source=source), load(name)
    x = images(backbone)
    with torch.no_grad():
        assert torch.equal(model.head.prompt(model.body(x)), backbone(x))
    assert model.features_are_fixed


@pytest.mark.parametrize("cell", ["implicit", "explicit"])
@pytest.mark.parametrize("source", SOURCES)
def test_gradients_reach_every_tensor_of_a_prompt_on_maps(source: str, cell: str) -> None:
    model = methods.build(
        MethodConfig.model_validate({"name": "lion", "input": False, "output": {"source": source}, "cell": cell}),
        load("resnet18"),
        num_classes=3,
        seed=0,
    )
    rows = model.body(images(load("resnet18")))
    optimizer = torch.optim.SGD(model.parameter_groups(0.1))
    for _ in range(2):  # V leaves zero in the first step, the rest follows in the second
        optimizer.zero_grad()
        torch.autograd.backward(model.head(rows).square().sum())
        optimizer.step()
        model.project_()
    assert all(bool(p.grad.abs().sum() > 0) for p in model.trained().values() if p.grad is not None)
    assert all(p.grad is not None for p in model.trained().values())
    assert set(model.trained()) - set(model.prunable()) == {
        "head.classifier.weight",
        "head.classifier.bias",
        *(name for name in model.trained() if name.endswith(".b")),
    }


def test_both_prompts_train_together_through_the_maps() -> None:
    config = MethodConfig.model_validate({"name": "lion", "output": {"source": "stages"}})
    model = methods.build(config, load("resnet18"), num_classes=3, seed=0)
    optimizer = torch.optim.SGD(model.parameter_groups(0.1))
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(model(images(load("resnet18"))).square().sum())
        optimizer.step()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.trained().values())


def test_parameter_counts_of_a_prompt_on_maps_are_the_closed_form() -> None:
    model = build("resnet18", 7, source="stages", stages=[1, 3], width=8, rank=4, readout=2, kernel=5)
    trained = sum(parameter.numel() for parameter in model.trained().values())
    channels = 64 + 256
    assert trained == 8 * 8 * 25 + 8 * channels + 8 + 4 * 8 * 4 + 512 * 4 + 7 * 512 + 7


@pytest.mark.parametrize("name", FAMILIES)
def test_the_default_maps_lie_in_the_middle(name: str) -> None:
    backbone = load(name)
    first, second = middle(backbone)
    assert 0 < first < second < num_maps(backbone) - 1


def test_rows_hold_the_features_and_normalised_maps() -> None:
    backbone = load("resnet18")
    maps, x = Maps(stages=(2, -2), grid=3), images(backbone)
    rows = maps.read(backbone, x)
    assert rows.shape == (2, 512 + (128 + 256) * 9)
    assert torch.equal(rows[:, :512], backbone(x))
    placed = rows[:, 512:].reshape(2, 384, 3, 3)
    for part in (placed[:, :128], placed[:, 128:]):
        assert torch.allclose(part.mean(1), torch.zeros(2, 3, 3), atol=1e-5)
        assert torch.allclose(part.var(1, unbiased=False), torch.ones(2, 3, 3), atol=1e-3)


def test_a_backbone_that_would_stop_behind_the_last_map_goes_on_to_its_features() -> None:
    backbone = load("hiera_tiny_224", 224)
    x = images(backbone, 1)
    rows = Maps(stages=middle(backbone), grid=2).read(backbone, x)
    assert torch.equal(rows[:, : backbone.num_features], backbone(x))
    assert rows.shape == (1, 768 + (192 + 384) * 4)


def test_the_order_in_which_maps_are_named_means_nothing() -> None:
    backbone = load("resnet18")
    x = images(backbone)
    assert torch.equal(Maps(stages=(3, 1), grid=3).read(backbone, x), Maps(stages=(1, -2), grid=3).read(backbone, x))


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"rank": 4}, "rank has no effect: source: pooled has no places; use source: stages"),
        ({"source": "map", "stages": [1]}, "stages has no effect: source: map reads none"),
        ({"source": "stages", "kernel": 2}, "kernel (2) must be odd"),
        ({"source": "stages", "readout": 9}, "readout (9) must be at most grid (6)"),
        ({"source": "stages", "stages": []}, "stages"),
        ({"source": "stage"}, "source"),
    ],
)
def test_an_output_that_makes_no_sense_is_refused(output: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError) as error:
        methods.options_of(MethodConfig.model_validate({"name": "lion", "output": output}))
    assert says in str(error.value)


def test_a_map_that_the_backbone_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="stages: 7 is not one of the 5 maps of resnet18"):
        build("resnet18", source="stages", stages=[7])


@pytest.mark.parametrize("source", ["pooled", *SOURCES])
def test_what_a_step_minimises_with_an_auxiliary_loss_is_that_of_the_model_and_weighted_that_of_the_prompt_alone(
    source: str,
) -> None:
    model = build("resnet18", source=source, auxiliary=0.5)
    labels = torch.tensor([0, 3])
    rows = model.body(images(load("resnet18")))
    model.head.prompt.get_parameter("V").data.normal_(generator=torch.Generator().manual_seed(0))
    minimised, loss, logits = methods.losses(methods.step_module(model)(rows), labels, model.head.auxiliary)
    added = model.head.prompt(rows) - rows[:, :512]
    torch.testing.assert_close(logits, model.head(rows))
    torch.testing.assert_close(loss, cross_entropy(model.head(rows), labels, reduction="sum"))
    alone = cross_entropy(model.head.classifier(added), labels, reduction="sum")
    torch.testing.assert_close(minimised, loss + 0.5 * alone, rtol=1e-4, atol=1e-4)


def test_an_auxiliary_loss_goes_with_maps_and_a_whole_model_has_one_too() -> None:
    assert build("resnet18").head.auxiliary == 0.0
    assert build("resnet18", source="map").head.auxiliary == 1.0
    config = MethodConfig.model_validate({"name": "lion", "output": {"source": "stages"}})
    model = methods.build(config, load("resnet18"), num_classes=3, seed=0)
    x = images(load("resnet18"))
    both = methods.step_module(model)(x)
    assert both.shape == (2, 2, 3)
    torch.testing.assert_close(both[:, 0], model(x))
