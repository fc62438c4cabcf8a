"""What a study asks of a backbone is tried on one image before it starts, and what has passed is not tried again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lion_ray import backbones, methods, pipeline
from lion_ray.backbones import Backbone
from lion_ray.config import BackboneConfig, MethodConfig, StudyError


def sketch(name: str, size: int) -> Backbone:
    config = BackboneConfig(name=name, weights="random", image_size=size)
    return backbones.in_one_line(backbones.sketch, config, "s.yaml")


@pytest.mark.parametrize("name", ["levit_128s", "efficientformerv2_s0"])
def test_a_cache_of_evaluation_mode_does_not_outlive_the_step_before(name: str) -> None:
    """Attention biases are indexed once and kept: the second step went through the graph of the first."""
    backbone = sketch(name, 64)
    methods.check([MethodConfig(name="full")], lambda: backbone)
    model = methods.build(MethodConfig(name="full"), backbone, num_classes=2, seed=0)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    biases = [value for key, value in model.trained().items() if "attention_bias" in key]
    assert biases
    with torch.no_grad():
        before = model(image)
        for value in model.trained().values():
            value.add_(0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
        moved = model(image)
        again = model(image)
    assert not torch.equal(before, moved)
    assert torch.equal(moved, again)


@pytest.mark.parametrize("name", ["resnetv2_50x1_bit", "nfnet_l0"])
def test_ssf_scales_nothing_that_a_standardised_weight_undoes(name: str) -> None:
    backbone = sketch(name, 64)
    model = methods.build(MethodConfig(name="ssf"), backbone, num_classes=2, seed=0)
    standardised = [each for each in model.modules() if any("StdConv" in kind.__name__ for kind in type(each).__mro__)]
    assert standardised
    scaled = [key for key in model.trained() if key.endswith("weight.0.scale") and ".conv" in key]
    assert not scaled


def test_lora_leaves_gates_of_channels_alone() -> None:
    with pytest.raises(StudyError, match="it has none; use ssf or partial"):
        methods.check([MethodConfig(name="lora")], lambda: sketch("nf_regnet_b0", 64))


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("maxvit_tiny_tf_224", 100, "AssertionError: height (25) must be divisible by window (3)"),
        (
            "efficientformer_l1",
            96,
            "backbone: cannot be run at this image size: RuntimeError: The size of tensor",
        ),
    ],
)
def test_a_size_that_a_backbone_does_not_take_is_one_line(name: str, size: int, says: str) -> None:
    with pytest.raises(StudyError) as caught:
        methods.check([MethodConfig(name="linear")], lambda: sketch(name, size))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dry_run_refuses_it_and_what_passed_is_not_tried_again(
    study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ["--set", "backbone={name: efficientformer_l1, weights: random, image_size: 96}", "--dry-run"]
    assert pipeline.main([str(study_file), *broken]) == 2
    said = capsys.readouterr().err
    assert "backbone: cannot be run at this image size: RuntimeError" in said
    assert said.strip().endswith("backbone.image_size 224 would do") or "would do" not in said

    made, passed = list[Backbone](), set[str]()

    def make() -> Backbone:
        made.append(sketch("test_resnet", 32))
        return made[-1]

    for _ in range(2):
        methods.check(
            [MethodConfig(name="linear"), MethodConfig(name="linear", label="twin")],
            make,
            backbone={"name": "test_resnet"},
            has_passed=passed.__contains__,
            on_passed=passed.add,
        )
    assert len(made) == len(passed) == 1
