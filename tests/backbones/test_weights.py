"""Weights as people publish and keep them: read like the hub's, or refused in one line that says what is wrong."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import save
from torch import Tensor

from lion_ray import backbones
from lion_ray.backbones import checkpoints
from lion_ray.cli import commands
from lion_ray.config import BackboneConfig, StudyError

State = dict[str, Tensor]
NAME, SIZE = "test_vit", 160  # its own


@pytest.fixture(scope="module")
def state() -> State:
    return made()


def made(name: str = NAME, **settings: Any) -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return dict(timm.create_model(name, **settings).state_dict())


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def load(folder: Path, payload: bytes, *, name: str = NAME, size: int | None = SIZE) -> Mapping[str, Tensor]:
    file = folder / "weights"
    file.write_bytes(payload)
    section = BackboneConfig(name=name, weights=str(file), image_size=size)
    return backbones.frozen.original(section, source="s.yaml").state_dict()


def refusal(folder: Path, payload: bytes, **settings: Any) -> str:
    with pytest.raises(StudyError) as caught:
        load(folder, payload, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


HOLDERS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "model, with the script's arguments": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"param_groups": [{"lr": 0.1}]}},
    "data parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
    "compiled": lambda state: {"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}},
    "average": lambda state: {"state_dict": {k: v * 0 for k, v in state.items()}, "state_dict_ema": state},
    "no average": lambda state: {"state_dict": state, "state_dict_ema": None},
    "another average": lambda state: {"model": {k: v * 0 for k, v in state.items()}, "model_ema": state},
}


@pytest.mark.parametrize("kept", HOLDERS)
def test_weights_are_found_wherever_a_checkpoint_keeps_them(tmp_path: Path, state: State, kept: str) -> None:
    assert same(load(tmp_path, saved(HOLDERS[kept](state))), state)


def test_a_file_is_what_it_holds_whatever_its_name(tmp_path: Path, state: State) -> None:
    old = io.BytesIO()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    for payload in (save(state), old.getvalue()):
        assert same(load(tmp_path, payload), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_fp32_before_anything_is_resampled(
    tmp_path: Path, state: State, dtype: torch.dtype
) -> None:
    half = {name: value.to(dtype) for name, value in state.items()}
    full = {name: value.float() for name, value in half.items()}
    for size in (SIZE, 96):
        assert same(load(tmp_path, saved(half), size=size), load(tmp_path, saved(full), size=size))
    assert same(load(tmp_path, saved(half)), full)


def test_position_embeddings_are_resampled_to_the_images_as_the_hubs_are(tmp_path: Path, state: State) -> None:
    found = load(tmp_path, saved(state), size=96)
    wanted = timm.layers.resample_abs_pos_embed(state["pos_embed"], [6, 6], num_prefix_tokens=1)
    assert wanted.shape[1] == 37
    assert same(found, {**state, "pos_embed": wanted})
    hub = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, img_size=96)
    assert same(found, hub.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of timm, where it resamples by itself
@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "swin_s3_tiny_224", "deit_tiny_distilled_patch16_224"])
def test_real_models_take_other_sizes_from_a_file_as_from_the_hub(tmp_path: Path, name: str) -> None:
    for size in (112, 224):
        state = made(name)
        hub = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, img_size=size)
        assert same(load(tmp_path, saved({"model": state}), name=name, size=size), hub.state_dict())


def test_foreign_names_go_through_the_models_own_filter(tmp_path: Path, state: State) -> None:
    """As facebook publishes DINOv2: with a token for its pretext task."""
    assert same(load(tmp_path, saved({**state, "mask_token": torch.zeros(1, 64)})), state)
    clip = {f"visual.trunk.{name}": value for name, value in state.items()}
    text = {"text.positional_embedding": torch.zeros(3, 3)}
    assert same(load(tmp_path, saved(text | clip)), state)


@pytest.mark.parametrize("num_classes", [0, 10])
@pytest.mark.parametrize("size", [SIZE, 96])
def test_a_classifier_that_is_missing_or_of_another_size_does_not_matter(
    tmp_path: Path, state: State, num_classes: int, size: int
) -> None:
    body = {name: value for name, value in state.items() if not name.startswith("head.")}
    head = {"head.weight": torch.ones(num_classes, 64), "head.bias": torch.ones(num_classes)} if num_classes else {}
    found = load(tmp_path, saved(body | head), size=size)
    whole = load(tmp_path, saved(state), size=size)
    assert not found["head.weight"].any()
    assert same({**found, "head.weight": whole["head.weight"], "head.bias": whole["head.bias"]}, whole)


def as_google_does(state: State) -> dict[str, np.ndarray[Any, Any]]:
    """A ViT under the names and in the layout of Google's `.npz`."""
    arrays = {name: value.numpy() for name, value in state.items()}
    width, heads = arrays["cls_token"].shape[-1], 2
    found = {
        "cls": arrays["cls_token"],
        "Transformer/posembed_input/pos_embedding": arrays["pos_embed"],
        "embedding/kernel": arrays["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": arrays["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": arrays["norm.weight"],
        "Transformer/encoder_norm/bias": arrays["norm.bias"],
        "head/kernel": arrays["head.weight"][:5].T,
        "head/bias": arrays["head.bias"][:5],
    }
    for number in range(1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("blocks."))):
        ours, theirs = f"blocks.{number}.", f"Transformer/encoderblock_{number}/"
        attention = theirs + "MultiHeadDotProductAttention_1/"
        for part, weight, bias in zip(
            ("query", "key", "value"),
            np.split(arrays[ours + "attn.qkv.weight"], 3),
            np.split(arrays[ours + "attn.qkv.bias"], 3),
            strict=True,
        ):
            found[f"{attention}{part}/kernel"] = weight.T.reshape(width, heads, -1)
            found[f"{attention}{part}/bias"] = bias.reshape(heads, -1)
        found[f"{attention}out/kernel"] = arrays[ours + "attn.proj.weight"].T.reshape(heads, -1, width)
        found[f"{attention}out/bias"] = arrays[ours + "attn.proj.bias"]
        for norm, theirs_norm in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            found[f"{theirs}{theirs_norm}/scale"] = arrays[f"{ours}{norm}.weight"]
            found[f"{theirs}{theirs_norm}/bias"] = arrays[f"{ours}{norm}.bias"]
        for layer in (0, 1):
            found[f"{theirs}MlpBlock_3/Dense_{layer}/kernel"] = arrays[f"{ours}mlp.fc{layer + 1}.weight"].T
            found[f"{theirs}MlpBlock_3/Dense_{layer}/bias"] = arrays[f"{ours}mlp.fc{layer + 1}.bias"]
    return found


def npz(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def test_googles_npz_is_read_at_every_size_and_never_unpickled(tmp_path: Path, state: State) -> None:
    payload = npz(as_google_does(state))
    found = load(tmp_path, payload)
    head = {name: torch.zeros_like(state[name]) for name in ("head.weight", "head.bias")}
    assert same(found, state | head)
    assert load(tmp_path, payload, size=96)["pos_embed"].shape == (1, 37, 64)
    arrays = as_google_does(state)
    arrays["cls"] = np.array([print], dtype=object)
    assert "it is a damaged .npz, or holds more than arrays" in refusal(tmp_path, npz(arrays))
    assert "timm reads no .npz for ByobNet" in refusal(tmp_path, payload, name="test_byobnet", size=None)


def test_what_does_not_fit_is_said_with_counts_and_names(tmp_path: Path, state: State) -> None:
    moved = {name: value for name, value in state.items() if "norm1" not in name}
    moved |= {"head.weight": torch.zeros(7, 64), "x.y": torch.zeros(1), "blocks.0.mlp.fc1.bias": torch.zeros(3)}
    for size in (SIZE, 96):
        assert refusal(tmp_path, saved(moved), size=size).endswith(
            "cannot be used: it does not fit the model: "
            "12 missing (blocks.0.norm1.weight, blocks.0.norm1.bias, blocks.1.norm1.weight, ...); "
            "1 not the model's (x.y); 1 of another shape (blocks.0.mlp.fc1.bias 3, the model's is 192)"
        )
    short = {name: value for name, value in as_google_does(state).items() if "block_5/" not in name}
    assert "timm's own loader of .npz says KeyError" in refusal(tmp_path, npz(short))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named_before_anything_is_trained(
    tmp_path: Path, state: State, value: float
) -> None:
    bad = state["blocks.0.norm1.weight"].clone()
    bad[:3] = value
    said = refusal(tmp_path, saved({**state, "blocks.0.norm1.weight": bad}))
    assert "1 of its tensors hold NaN or infinity (blocks.0.norm1.weight: 3 of 64)" in said


DAMAGED: dict[str, tuple[Callable[[State], bytes], str]] = {
    "empty": (lambda _: b"", "it is empty"),
    "pointer": (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n", "git lfs pull"),
    "page": (lambda _: b"<!DOCTYPE html><html>sign in</html>", "it is a web page"),
    "text": (lambda _: b"weights", "none of the files that hold weights"),
    "cut safetensors": (lambda state: save(state)[:9999], "it is cut off or a damaged safetensors file"),
    "cut pth": (lambda state: saved(state)[:9999], "it is cut off or damaged"),
    "cut npz": (lambda _: npz({"a": np.zeros(9999)})[:-9], "it is cut off or damaged"),
    "no pickle": (lambda _: b"\x80\x02garbage", "it is cut off or damaged"),
    "list": (lambda state: saved([state]), "it holds a list in the place of named tensors"),
    "tensor": (lambda _: saved(torch.ones(3)), "it holds a single tensor in the place of named tensors"),
    "none": (lambda _: saved({"state_dict": None}), "it holds no named tensors, but 'state_dict'"),
    "nothing": (lambda _: saved({}), "it holds no named tensors, but nothing"),
    "code": (lambda _: saved({"w": Path}), "the file holds more than tensors"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_line_that_says_what_it_is(tmp_path: Path, state: State, damage: str) -> None:
    make, says = DAMAGED[damage]
    assert says in refusal(tmp_path, make(state))


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    for path in ("/dev/zero", "file:///dev/zero", str(tmp_path)):
        with pytest.raises(ValueError, match="it is no regular file"):
            checkpoints.read_checkpoint(path)


def test_no_flipped_byte_and_no_cut_ends_in_anything_but_an_error_of_one_kind(rng: np.random.Generator) -> None:
    state = {"a.weight": torch.zeros(40, 3), "b": torch.ones(5, dtype=torch.float16)}
    for whole in (save(state), saved({"model": state}), npz({"cls": np.zeros(9), "head/bias": np.ones(3)})):
        for _ in range(150):
            payload = bytearray(whole)
            for place in rng.integers(len(payload), size=3):
                payload[place] ^= 1 << int(rng.integers(8))
            for damaged in (bytes(payload), whole[: int(rng.integers(len(whole)))]):
                with contextlib.suppress(ValueError):
                    checkpoints.parsed_checkpoint(damaged)


def test_a_study_with_damaged_weights_ends_with_status_2_before_anything_starts(
    study_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    backbone = f"backbone={{name: {NAME}, weights: '{tmp_path / 'w.pth'}', image_size: {SIZE}}}"
    assert CliRunner().invoke(commands.main, ["run", str(study_file), "--set", backbone]).exit_code == 2
    assert not (tmp_path / "results").exists()
