"""The methods that train inside or around the backbone, on every family: step 0, gradients, counts, what is refused."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from lion_ray import backbones, methods
from lion_ray.backbones import Backbone
from lion_ray.config import BackboneConfig, MethodConfig, StudyError
from lion_ray.methods import METHODS, AdaptedModel
from lion_ray.methods.lora import LowRank
from tests.support.small_runs import in_here

VIT, SWIN, RESNET, CONVNEXT, EFFICIENTNET = FAMILIES = [  # timm's own miniatures, and the smallest Swin that it has
    "test_vit",
    "swin_tiny_patch4_window7_224",
    "test_resnet",
    "test_convnext",
    "test_efficientnet",
]
RELATIVE = "test_vit_relpos"
TUNED = [name for name in METHODS if name not in ("linear", "lion")]
NO_TOKENS = "no sequence of tokens that attention reads"
REFUSED = {
    **{(name, family): NO_TOKENS for name in ("vpt_shallow", "vpt_deep") for family in FAMILIES[2:]},
    **{("vpt_pad", family): "which the border makes of" for family in (VIT, SWIN)},
    **{("adapter", family): "MLPs of blocks" for family in (RESNET, EFFICIENTNET)},
    **{("lora", family): "attention and MLPs" for family in (RESNET, EFFICIENTNET)},
}


@functools.lru_cache
def load(name: str, size: int | None = None) -> Backbone:
    """Random weights, and norms that are not a fresh model's: a ResNet starts with some at 0."""
    config = BackboneConfig(name=name, weights="random", image_size=size or (64 if name == SWIN else 48))
    found, generator = backbones.load(config), torch.Generator().manual_seed(0)
    model = copy.deepcopy(found.own(folded=False).model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
    folded = backbones.fold_batch_norm(model, found.transform.size)
    return Backbone(folded, name=name, transform=found.transform, weights_digest="", unfolded=model)


def build(method: str, backbone: Backbone, num_classes: int = 3, **options: Any) -> AdaptedModel:
    return methods.build(MethodConfig(name=method, **options), backbone, num_classes=num_classes, seed=0)


def images(backbone: Backbone, batch: int = 2) -> Tensor:
    size = backbone.transform.size
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def everything(backbone: Backbone) -> dict[str, Tensor]:
    """All tensors of the shared backbone, folded and not."""
    return {**backbone.state_dict(), **{f"unfolded.{k}": v for k, v in backbone.own(folded=False).state_dict().items()}}


def move_(model: AdaptedModel) -> None:
    """Every trained tensor away from its start."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.trained().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("method", TUNED)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_method_trains_all_it_says_and_nothing_that_is_shared_or_is_refused_with_the_reason(
    method: str, family: str
) -> None:
    backbone = load(family)
    config = MethodConfig(name=method)
    if reason := REFUSED.get((method, family)):
        with pytest.raises(StudyError, match=f"s.yaml: methods.0: '{method}' does not apply to {family}: .*{reason}"):
            methods.check([config], in_here(lambda: backbone), source="s.yaml")
        return
    model, x = build(method, backbone), images(backbone)
    before = {name: tensor.clone() for name, tensor in everything(backbone).items()}
    if not method.startswith("vpt"):
        unfolded = method in ("full", "partial", "bias")
        with torch.no_grad():
            assert torch.equal(model.body(x), backbone.own(folded=not unfolded)(x))
    optimizer = torch.optim.SGD(model.train().parameter_groups(0.01))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(model.trained())
    for _ in range(2):  # what starts at zero moves in the first step, what it multiplies in the second
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(x), torch.tensor([0, 1])))
        optimizer.step()
    still = [name for name, tensor in model.trained().items() if tensor.grad is None or not bool(tensor.grad.any())]
    assert not still
    assert all(torch.equal(tensor, before[name]) for name, tensor in everything(backbone).items())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert set(model.prunable()) <= model.trained().keys()
    assert bool(model.prunable()) == METHODS[method].is_prunable
    assert not model.features_are_fixed


VIT_TI, RESNET_18 = "vit_tiny_patch16_224", "resnet18"
D, L = 192, 12  # ViT-Ti's width and depth; images of 48 pixels
CHANNELS = 64 * 5 + 128 * 5 + 256 * 5 + 512 * 5  # of ResNet-18's convolutions and norms
BLOCK = 12 * D * D + 13 * D  # qkv, proj, fc1, fc2; their biases and two norms
COUNTS: list[tuple[str, str, dict[str, Any], int, int]] = [  # trained without the classifier, prunable
    ("full", VIT_TI, {}, L * BLOCK + (3 * 256 + 1) * D + (9 + 1) * D + D + 2 * D, L * 12 * D * D + 3 * 256 * D),
    ("full", RESNET_18, {}, 11_689_512 - 512 * 1000 - 1000, 11_689_512 - 512 * 1000 - 1000 - 2 * CHANNELS),
    ("partial", VIT_TI, {}, BLOCK + 2 * D, 12 * D * D),
    ("partial", VIT_TI, {"blocks": 3}, 3 * BLOCK + 2 * D, 3 * 12 * D * D),
    ("partial", RESNET_18, {}, 2 * 9 * 512 * 512 + 4 * 512, 2 * 9 * 512 * 512),
    ("bias", VIT_TI, {}, L * 13 * D + D + 2 * D, 0),
    ("bias", RESNET_18, {}, 2 * CHANNELS, 0),
    ("vpt_shallow", VIT_TI, {"tokens": 7}, 7 * D, 7 * D),
    ("vpt_deep", VIT_TI, {}, L * 10 * D, L * 10 * D),
    ("vpt_deep", SWIN, {"tokens": 3}, 3 * 96 * (2 + 2 * 2 + 6 * 4 + 2 * 8), 3 * 96 * (2 + 2 * 2 + 6 * 4 + 2 * 8)),
    ("vpt_pad", RESNET_18, {}, 3 * (56**2 - 48**2), 3 * (56**2 - 48**2)),
    ("vpt_pad", RESNET_18, {"width": 2}, 3 * (52**2 - 48**2), 3 * (52**2 - 48**2)),
    ("adapter", VIT_TI, {}, L * (2 * 64 * D + 64 + D), L * 2 * 64 * D),
    ("lora", VIT_TI, {"rank": 4}, 4 * L * (4 + 2 + 5 + 5) * D, 4 * L * (4 + 2 + 5 + 5) * D),
    ("ssf", VIT_TI, {}, 2 * (L * (3 + 1 + 4 + 1 + 2) + 2) * D, 2 * (L * (3 + 1 + 4 + 1 + 2) + 2) * D),
    ("ssf", RESNET_18, {}, 2 * CHANNELS, 2 * CHANNELS),
]


@pytest.mark.parametrize(("method", "family", "options", "trained", "prunable"), COUNTS)
def test_parameter_counts_are_the_closed_form(
    method: str, family: str, options: dict[str, Any], trained: int, prunable: int
) -> None:
    backbone = load(family)
    model = build(method, backbone, num_classes=7, **options)
    counts = {name: parameter.numel() for name, parameter in model.trained().items()}
    assert sum(counts.values()) == trained + 7 * backbone.num_features + 7
    assert sum(counts[name] for name in model.prunable()) == prunable


@pytest.mark.parametrize("deep", [False, True])
def test_tokens_behind_the_others_are_vpts_behind_the_class_token(deep: bool) -> None:
    backbone = load(VIT)
    model, x = build("vpt_deep" if deep else "vpt_shallow", backbone), images(backbone)
    vit: Any = backbone.model
    tokens = [model.trained()[name].expand(2, -1, -1) for name in model.prunable()]
    with torch.no_grad():
        seen = vit._pos_embed(vit.patch_embed(x))
        seen = torch.cat([seen[:, :1], tokens[0], seen[:, 1:]], dim=1)
        for index, block in enumerate(vit.blocks):
            if deep:
                seen = torch.cat([seen[:, :1], tokens[index], seen[:, 11:]], dim=1)
            seen = block(seen)
        assert torch.allclose(model.body(x), vit.norm(seen)[:, 0], atol=1e-5)


ROTARY = ["eva02_tiny_patch14_224", "vit_small_patch16_dinov3_qkvb", "vit_small_patch16_rope_mixed_224"]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ROTARY)
def test_attention_turns_patches_by_their_place_and_learned_tokens_not_at_all(name: str, deep: bool) -> None:
    """Against attention written out here, over class and register tokens, learned tokens and patches in this order."""
    backbone = copy.deepcopy(load(name, 56 if name == ROTARY[0] else 64))
    vit: Any = backbone.model
    for key, parameter in vit.named_parameters():
        if "gamma" in key:
            nn.init.constant_(parameter, 0.5)  # a fresh one hardly lets a block act
    model, x = build("vpt_deep" if deep else "vpt_shallow", backbone, tokens=3), images(backbone)
    move_(model)
    tokens = [model.trained()[key].expand(2, -1, -1) for key in model.prunable()]
    with torch.no_grad():
        seen, table = vit._pos_embed(vit.patch_embed(x))
        seen, prefix = vit.norm_pre(seen), vit.num_prefix_tokens
        assert not torch.equal(table, torch.zeros_like(table))
        for index, block in enumerate(vit.blocks):
            if deep or index == 0:
                rest = seen[:, prefix:] if index == 0 else seen[:, prefix + 3 :]
                seen = torch.cat([seen[:, :prefix], tokens[index], rest], dim=1)
            own = table[index] if vit.rope_mixed else table
            gammas = [1 if gamma is None else gamma for gamma in (block.gamma_1, block.gamma_2)]
            seen = seen + gammas[0] * rotary_attention(block.attn, block.norm1(seen), own, prefix + 3)
            seen = seen + gammas[1] * block.mlp(block.norm2(seen))
        seen = vit.norm(torch.cat([seen[:, :prefix], seen[:, prefix + 3 :]], dim=1))
        assert torch.allclose(model.body(x), vit.forward_head(seen, pre_logits=True), atol=1e-5)
        assert not torch.allclose(model.body(x), backbone(x), atol=1e-3)


def rotary_attention(attention: Any, x: Tensor, table: Tensor, unturned: int) -> Tensor:
    """Softmax attention whose queries and keys, behind the first `unturned`, are turned by `table` (sines, cosines)."""
    sines, cosines = table.chunk(2, dim=-1)

    def turned(each: Tensor) -> Tensor:
        patches = each[:, :, unturned:]
        if attention.rotate_half:
            first, second = patches.chunk(2, dim=-1)
            crossed = torch.cat([-second, first], dim=-1)
        else:
            crossed = torch.stack([-patches[..., 1::2], patches[..., ::2]], dim=-1).flatten(-2)
        return torch.cat([each[:, :, :unturned], patches * cosines + crossed * sines], dim=2)

    if attention.qkv is None:
        queries, keys, values = (layer(x) for layer in (attention.q_proj, attention.k_proj, attention.v_proj))
    else:
        bias = attention.qkv.bias
        if getattr(attention, "q_bias", None) is not None:
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
        queries, keys, values = nn.functional.linear(x, attention.qkv.weight, bias).chunk(3, dim=-1)
    queries, keys, values = (
        each.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for each in (queries, keys, values)
    )
    scores = turned(queries) @ turned(keys).transpose(2, 3) * queries.shape[-1] ** -0.5
    out: Tensor = attention.proj(attention.norm((scores.softmax(-1) @ values).transpose(1, 2).flatten(2)))
    return out


@pytest.mark.parametrize("method", ["vpt_shallow", "vpt_deep"])
@pytest.mark.parametrize("size", [56, 72])  # 72: windows are shifted over a padded edge
def test_a_swins_windows_without_a_token_are_its_own(method: str, size: int) -> None:
    backbone = load(SWIN, size)
    model, x = build(method, backbone), images(backbone)
    stages: Any = model.body.backbone.model.layers
    stages.tokens = nn.ParameterList(nn.Parameter(tokens[:, :0]) for tokens in stages.tokens)
    with torch.no_grad():
        assert torch.allclose(model.body(x), backbone(x), atol=1e-5)


@pytest.mark.parametrize(("method", "family"), [("ssf", VIT), ("ssf", RESNET), ("lora", VIT), ("lora", CONVNEXT)])
def test_what_lora_and_ssf_have_learned_merges_into_the_backbones_weights(method: str, family: str) -> None:
    backbone = load(family)
    model, x, names = build(method, backbone), images(backbone), len(list(backbone.parameters()))
    move_(model)
    before, shared = model(x), {name: tensor.clone() for name, tensor in everything(backbone).items()}
    methods.merge_(model)
    merged = model(x)
    assert (merged - before).abs().max() <= (0 if method == "ssf" else 1e-4 * before.abs().max())
    assert len(list(model.body.backbone.parameters())) <= names + 1  # a layer without a bias may have got one
    assert all(torch.equal(tensor, shared[name]) for name, tensor in everything(backbone).items())


@pytest.mark.parametrize("method", TUNED)
def test_the_seed_alone_fixes_every_draw(method: str) -> None:
    backbone = load(RESNET if (method, VIT) in REFUSED else VIT)
    one = build(method, backbone).trained()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        same = build(method, backbone).trained()
    assert all(torch.equal(one[name], same[name]) for name in one)


@pytest.mark.parametrize("method", ["full", "partial", "bias"])
def test_batch_norm_keeps_the_frozen_statistics(method: str) -> None:
    model = build(method, load(RESNET)).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model(images(load(RESNET)))
    frozen = [module for module in load(RESNET).own(folded=False).modules() if isinstance(module, nn.BatchNorm2d)]
    for norm, same in zip(norms, frozen, strict=True):
        assert torch.equal(norm.running_mean, same.running_mean)  # type: ignore[arg-type]
        assert torch.equal(norm.running_var, same.running_var)  # type: ignore[arg-type]
    assert sum(norm.weight.requires_grad for norm in norms) == (3 if method == "partial" else len(norms))


def test_low_rank_changes_reach_attention_that_reads_its_weight_itself() -> None:
    model = build("lora", load(VIT))
    move_(model)
    layer, x = model.body.backbone.model.get_submodule("blocks.0.attn.qkv"), torch.randn(5, 64)
    assert isinstance(layer, LowRank)
    assert torch.allclose(nn.functional.linear(x, layer.weight, layer.bias), layer(x), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "name", "says"),
    [
        ({"name": "partial", "blocks": 13}, VIT, "blocks is 13, and it has 6; use full"),
        pytest.param(
            {"name": "vpt_deep"},
            RELATIVE,
            "bias for every two places",
            marks=pytest.mark.skipif(not timm.is_model(RELATIVE), reason="this timm has no miniature of it"),
        ),
        ({"name": "partial"}, "poolformer_s12", "timm does not say"),
    ],
)
def test_what_does_not_apply_is_told_in_one_line(method: dict[str, Any], name: str, says: str) -> None:
    backbone = load(name)
    with pytest.raises(StudyError, match=says) as caught:
        methods.check([MethodConfig(name="linear"), MethodConfig(**method)], in_here(lambda: backbone))
    assert str(caught.value).startswith("study: methods.1: ")
    assert "\n" not in str(caught.value)
