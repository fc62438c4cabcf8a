"""What a study asks of a backbone is tried on one image before it starts, and what has passed is not tried again."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch

from lion_ray import backbones, methods, pipeline
from lion_ray.backbones import Backbone
from lion_ray.config import BackboneConfig, MethodConfig, StudyError
from lion_ray.methods import AdaptedModel, checking
from tests.support.small_runs import in_here


@functools.lru_cache
def sketch(name: str, size: int) -> Backbone:
    config = BackboneConfig(name=name, weights="random", image_size=size)
    return backbones.in_one_line(backbones.specimen, config, "s.yaml")


def built(config: MethodConfig, backbone: Backbone) -> AdaptedModel:
    return methods.build(config, backbone, num_classes=2, seed=0)


@pytest.mark.parametrize(("name", "size"), [("levit_128s", 128), ("efficientformerv2_s0", 64)])
def test_a_cache_of_evaluation_mode_does_not_outlive_the_step_before(name: str, size: int) -> None:
    """Attention biases are indexed once and kept: the second step went through the graph of the first."""
    backbone = sketch(name, size)
    methods.check([MethodConfig(name="full")], in_here(lambda: backbone))
    model = methods.build(MethodConfig(name="full"), backbone, num_classes=2, seed=0)
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
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


@pytest.mark.parametrize("method", ["full", "partial", "bias", "ssf"])
@pytest.mark.parametrize(("name", "size"), [("efficientvit_m0", 128), ("shvit_s1", 96), ("volo_d1_224", 48)])
def test_what_the_features_do_not_depend_on_is_not_trained(name: str, size: int, method: str) -> None:
    """A norm of a classifier, an auxiliary head: counted and pruned as trained, they would never change anything."""
    backbone = sketch(name, size)
    methods.check([MethodConfig(name=method)], in_here(lambda: backbone))
    model = methods.build(MethodConfig(name=method), backbone, num_classes=2, seed=0)
    body = {key: each for key, each in model.trained().items() if key.startswith("body.")}
    features = model.body(torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)))
    gradients = torch.autograd.grad(features.sum(), list(body.values()), allow_unused=True)
    assert body
    assert not [key for key, each in zip(body, gradients, strict=True) if each is None]
    assert set(model.prunable()) <= model.trained().keys()


@pytest.mark.parametrize(("name", "size"), [("efficientvit_m0", 128), ("volo_d1_224", 48), ("test_vit", 32)])
def test_full_trains_everything_on_which_the_features_depend(name: str, size: int) -> None:
    backbone = sketch(name, size)
    whole = backbone.own(folded=False).model
    number = len(list(whole.parameters()))
    probe = copy.deepcopy(whole).requires_grad_(True)
    features = probe.forward_head(probe.forward_features(torch.ones(1, 3, size, size)), pre_logits=True)  # type: ignore[operator]
    torch.autograd.backward(features.sum())
    reached = {f"body.backbone.model.{key}" for key, each in probe.named_parameters() if each.grad is not None}
    model = methods.build(MethodConfig(name="full"), backbone, num_classes=2, seed=0)
    assert model.trained().keys() - reached == {"head.classifier.weight", "head.classifier.bias"}
    assert reached <= model.trained().keys()
    assert len(reached) < number  # the classifier at least
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_a_layer_whose_bias_the_model_keeps_elsewhere_is_scaled_alone() -> None:
    backbone = sketch("eva02_tiny_patch14_224", 28)
    methods.check([MethodConfig(name="ssf")], in_here(lambda: backbone))
    model = methods.build(MethodConfig(name="ssf"), backbone, num_classes=2, seed=0)
    place = "body.backbone.model.blocks.0.attn.qkv.parametrizations"
    assert f"{place}.weight.0.scale" in model.trained()
    assert f"{place}.bias.0.shift" not in model.trained()
    layer = model.body.backbone.model.get_submodule("blocks.0.attn.qkv")
    assert layer.bias is None


def test_a_backbone_of_several_branches_has_features_too() -> None:
    """CoaT and CrossViT show a list, one sequence for each branch."""
    backbone = sketch("coat_tiny", 32)
    methods.check([MethodConfig(name="linear"), MethodConfig(name="bias")], in_here(lambda: backbone))


def test_a_backbone_with_a_convolution_in_three_dimensions_is_one_too() -> None:
    methods.check([MethodConfig(name="linear")], in_here(lambda: sketch("lambda_resnet26t", 64)))


def test_an_adapter_hands_on_what_its_mlp_is_told_beside_tokens() -> None:
    backbone = sketch("pvt_v2_b0", 64)  # its MLPs are told the grid, and have a convolution over it
    methods.check([MethodConfig(name="adapter")], in_here(lambda: backbone))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = methods.build(MethodConfig(name="adapter"), backbone, num_classes=2, seed=0)
    with torch.no_grad():
        assert torch.equal(model.body(image), backbone(image))


def test_a_border_is_for_whatever_takes_a_larger_image() -> None:
    """A stem that is called `patch_embed` says nothing of it; a grid of positions does."""
    methods.check([MethodConfig(name="vpt_pad")], in_here(lambda: sketch("poolformer_s12", 64)))
    with pytest.raises(StudyError, match="does not take 72 x 72 pixels"):
        methods.check([MethodConfig(name="vpt_pad")], in_here(lambda: sketch("convit_tiny", 64)))


def test_memory_that_runs_out_on_the_larger_image_is_not_laid_to_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = sketch("poolformer_s12", 64)

    def without_memory(image: torch.Tensor) -> torch.Tensor:
        raise MemoryError("not enough for this image")

    monkeypatch.setattr(backbone, "forward", without_memory)
    build = functools.partial(methods.build, num_classes=2, seed=0)
    problem = checking.problem_of(MethodConfig(name="vpt_pad"), backbone, build)
    assert problem == "'vpt_pad' cannot be tried on poolformer_s12: there is not enough memory for one image"


@pytest.mark.parametrize("method", ["vpt_shallow", "vpt_deep"])
def test_what_others_code_raises_is_told_in_our_words(method: str) -> None:
    """ConViT's attention knows the number of its tokens."""
    with pytest.raises(StudyError) as caught:
        methods.check([MethodConfig(name=method)], in_here(lambda: sketch("convit_tiny", 32)))
    assert str(caught.value) == (
        f"study: methods.0: '{method}' does not apply to convit_tiny: timm's code (convit.py) does not run with "
        "learned tokens beside its own at 32 px"
    )


SMALL = {
    "test_resnet": 32, "nfnet_l0": 32, "vit_tiny_r_s16_p8_224": 32, "levit_128s": 128, "efficientformerv2_s0": 64,
    "convnext_atto": 32, "regnety_002": 32, "mobilenetv3_small_050": 32, "poolformer_s12": 64,
    "xcit_nano_12_p16_224": 64, "eva02_tiny_patch14_224": 28, "deit_tiny_patch16_224": 32,
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_no_tensor_that_acts_is_taken_for_one_that_does_not(name: str) -> None:
    """Branches that timm starts at zero or a millionth hide what is inside them, unless the trial opens them."""
    backbone = sketch(name, SMALL[name])
    for method in ("linear", "lion", "full", "partial", "bias", "vpt_deep", "adapter", "lora", "ssf"):
        problem = checking.problem_of(MethodConfig(name=method), backbone, built)
        assert problem is None or "cannot change the output" not in problem


@pytest.mark.parametrize("name", ["resnetv2_50x1_bit", "vit_tiny_r_s16_p8_224"])
def test_a_scale_that_a_standardised_weight_undoes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradient is not zero: the layer's epsilon leaves a trace of it."""
    monkeypatch.setattr("lion_ray.methods.ssf._scaled_tensor", lambda module: "weight")
    with pytest.raises(StudyError) as caught:
        methods.check([MethodConfig(name="ssf")], in_here(lambda: sketch(name, 64)))
    count = {"resnetv2_50x1_bit": "53 of 206", "vit_tiny_r_s16_p8_224": "1 of 154"}[name]
    told = f"'ssf' does not apply to {name} at 64 px: {count} trained tensors cannot change the output: "
    assert f"methods.0: {told}" in str(caught.value)
    assert "conv.parametrizations.weight.0.scale" in str(caught.value) or " more" in str(caught.value)


def test_a_single_inert_tensor_is_found_among_those_that_act() -> None:
    """Also one with a gradient of rounding, as a bias of attention's keys has: the softmax does not see it."""

    def with_an_inert_bias(config: MethodConfig, backbone: Backbone) -> AdaptedModel:
        model = built(config, backbone)
        model.head.classifier.register_parameter("spare", torch.nn.Parameter(torch.ones(3)))
        return model

    problem = checking.problem_of(MethodConfig(name="lion"), sketch("test_vit", 32), with_an_inert_bias)
    assert problem is not None
    assert problem.endswith("at 32 px: 1 of 11 trained tensors cannot change the output: head.classifier.spare")


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "poolformer_s12", "efficientformerv2_s0", "convit_tiny"])
def test_biases_that_nothing_depends_on_are_not_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = sketch(name, 64)
    unheard = {f"body.backbone.model.{each}" for each in backbones.without_effect(backbone.model)}
    assert unheard
    assert not unheard & built(MethodConfig(name="full"), backbone).trained().keys()
    monkeypatch.setattr("lion_ray.methods.tuning.without_effect", lambda model: set())
    problem = checking.problem_of(MethodConfig(name="full"), backbone, built)
    assert problem is not None
    assert f"{len(unheard)} of " in problem


def test_ssf_is_merged_where_only_shifts_are_trained() -> None:
    model = built(MethodConfig(name="ssf"), sketch("resnetv2_50x1_bit", 64))
    image = torch.ones(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)
        methods.merge_(model)
        assert torch.equal(model(image), before)


def test_lora_leaves_gates_of_channels_alone() -> None:
    with pytest.raises(StudyError, match="it has none; use ssf or partial"):
        methods.check([MethodConfig(name="lora")], in_here(lambda: sketch("nf_regnet_b0", 64)))


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
        methods.check([MethodConfig(name="linear")], in_here(lambda: sketch(name, size)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_at_which_timm_makes_nothing_is_told_beside_those_that_do(
    study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "backbone={name: xcit_nano_12_p16_224, weights: random, image_size: 100}"
    assert pipeline.main([str(study_file), "--set", odd, "--dry-run"]) == 2
    said = capsys.readouterr().err.strip()
    assert "backbone: timm cannot make xcit_nano_12_p16_224 at image_size: 100" in said
    assert said.endswith("; backbone.image_size 96 and 112 would do")


def test_a_dry_run_refuses_it_and_what_passed_is_not_tried_again(
    study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ["--set", "backbone={name: efficientformer_l1, weights: random, image_size: 96}", "--dry-run"]
    assert pipeline.main([str(study_file), *broken]) == 2
    said = capsys.readouterr().err
    assert "backbone: cannot be run at this image size: RuntimeError" in said
    assert said.strip().endswith("; backbone.image_size 224 would do")

    made, passed = list[Backbone](), set[str]()

    def make() -> Backbone:
        made.append(sketch("test_resnet", 32))
        return made[-1]

    for _ in range(2):
        methods.check(
            [MethodConfig(name="linear"), MethodConfig(name="linear", label="twin")],
            in_here(make),
            backbone={"name": "test_resnet"},
            has_passed=passed.__contains__,
            on_passed=passed.add,
        )
    assert len(made) == len(passed) == 1
