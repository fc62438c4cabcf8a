"""Views of training images: what torchvision's operations give, and draws that depend on seed and image alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from lion_ray.lottery import Mask, TrainState
from lion_ray.store import Store
from lion_ray.training import augmentation, loop
from lion_ray.training.augmentation import OPERATIONS, augmented, uniform
from lion_ray.training.batches import prepare
from lion_ray.training.workers import SingleWorker
from tests.support.small_runs import artifacts, decoded, experiment, run
from tests.training.test_one_round import CPU, dense, trainer

POLICIES = ("flip", "crop_flip", "randaugment")


def images(num: int, size: int = 33) -> Tensor:
    """Coarse noise, smooth enough that interpolation means something."""
    coarse = torch.rand(num, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_view_depends_on_seed_and_image_alone(policy: str) -> None:
    whole, rows = images(64), torch.arange(1000, 1064)
    before = whole.clone()
    views = augmented(whole, rows, policy, seed=5)
    assert views.dtype == torch.uint8
    assert views.shape == whole.shape
    assert torch.equal(whole, before)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for part in (order[:1], order[1:8], order[8:41], order[41:]):
        assert torch.equal(augmented(whole[part], rows[part], policy, seed=5), views[part])
    assert not torch.equal(augmented(whole, rows, policy, seed=6), views)
    assert not torch.equal(augmented(whole, rows + 1, policy, seed=5), views)


def test_none_is_the_image_itself() -> None:
    whole = images(3)
    assert augmented(whole, torch.arange(3), "none", seed=0) is whole


def test_flip_mirrors_half_of_the_images_and_leaves_the_others() -> None:
    whole = images(400, size=8)
    views = augmented(whole, torch.arange(400), "flip", seed=0)
    same, mirrored = ((views == other).flatten(1).all(1) for other in (whole, whole.flip(2)))
    assert bool((same | mirrored).all())
    assert 170 <= int(mirrored.sum()) <= 230


def test_a_crop_is_a_window_of_seven_eighths_scaled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the corner and unflipped: what torchvision makes of the window's pixels, but for its borders."""
    size = 64
    monkeypatch.setattr(augmentation, "uniform", lambda *_: np.array([[0.9, 0.0, 0.0, 0, 0, 0, 0]]))
    whole = images(1, size)
    view = augmented(whole, torch.arange(1), "crop_flip", seed=0).permute(0, 3, 1, 2)
    window = whole.permute(0, 3, 1, 2)[..., : size * 7 // 8, : size * 7 // 8]
    want = v2.functional.resize(window, [size, size], antialias=False)
    difference = (view.int() - want.int())[..., : size - 2, : size - 2].abs()
    assert int(difference.max()) <= 1


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_torchvisions_at_magnitude_9_of_30(name: str, sign: int) -> None:
    pixels = images(4).permute(0, 3, 1, 2)
    theirs = v2.RandAugment()
    magnitudes, is_signed = theirs._AUGMENTATION_SPACE[name]
    values = magnitudes(31, 33, 33)
    magnitude = 0.0 if values is None else float(values[9]) * (sign if is_signed else 1)
    want = theirs._apply_image_or_video_transform(
        pixels, name, magnitude, interpolation=v2.InterpolationMode.NEAREST, fill={Tensor: None}
    )
    got = OPERATIONS[name](pixels, sign * augmentation.FRACTION)
    assert got.dtype == torch.uint8
    is_blend = name in ("Brightness", "Color", "Contrast")  # their factor is 1.27 here and 1.2700000107 there
    assert int((got.int() - want.int()).abs().max()) <= int(is_blend)


def test_randaugment_uses_every_operation_about_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}
    for name in OPERATIONS:

        def counted(pixels: Tensor, _: float, name: str = name) -> Tensor:
            seen[name] = seen.get(name, 0) + len(pixels)
            return pixels

        monkeypatch.setitem(OPERATIONS, name, counted)
    augmented(images(1400, size=4), torch.arange(1400), "randaugment", seed=0)
    assert sum(seen.values()) == 2 * 1400
    assert all(130 <= seen[name] <= 270 for name in OPERATIONS)


def test_draws_are_pinned_and_uniform() -> None:
    """If this fails, every study with augmentation gives other bits."""
    draws = uniform(3, np.arange(20000), 3)
    assert uniform(1, np.array([0, 7]), 2).round(6).tolist() == PINNED
    assert abs(draws.mean() - 0.5) < 0.01
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03
    assert float(draws.min()) >= 0
    assert float(draws.max()) < 1


PINNED = [[0.672274, 0.95684], [0.624534, 0.475141]]


def test_epochs_see_other_views_and_rounds_the_same(study_file: Path) -> None:
    subject = trainer(study_file, "train.augment=crop_flip")
    rows = [torch.arange(8)]
    first, again, other = (
        next(subject._splits.train.batches(rows, subject.seed_for(f"augment/{epoch}"))) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    one = dense(subject)
    start = subject.start()
    two = subject.train(0, TrainState(weights=start), Mask.dense({name: start[name] for name in subject.prunable()}))
    assert one.metrics == two.metrics


def test_workers_see_the_views_that_one_worker_sees(study_file: Path) -> None:
    class Half(SingleWorker):
        size = 2

    subject, batch = trainer(study_file, "train.augment=randaugment"), torch.arange(17)
    seen: dict[int, Tensor] = {}
    for rank in (0, 1):
        workers = Half()
        workers.rank = rank
        rows = loop._shard(batch, workers).rows
        (inputs,) = subject._splits.train.batches([rows], seed=4)
        seen |= dict(zip(rows.tolist(), inputs, strict=True))
    (whole,) = subject._splits.train.batches([batch], seed=4)
    assert all(torch.equal(seen[row], whole[row]) for row in range(17))


def test_features_of_augmented_images_are_not_fixed(study_file: Path, tmp_path: Path) -> None:
    chosen = experiment(study_file, "methods=[linear]", "train.augment=flip")
    dataset = decoded(chosen)
    subject = trainer(study_file, "methods=[linear]", "train.augment=flip")
    assert subject._splits.train.features is None
    assert subject._splits.val is not None
    assert subject._splits.val.features is not None
    transform = subject.model.body.backbone.transform
    rows = torch.arange(16)
    views = augmented(torch.from_numpy(dataset.train.gather(rows.numpy())), rows, "flip", seed=9)
    (features,) = subject._splits.train.batches([rows], seed=9)
    with torch.no_grad():
        assert torch.equal(features, subject.model.body(transform.of_pixels(views)))
    assert prepare(subject.model, dataset.train, transform, CPU).features is not None
    plain, flipped = (Store(str(tmp_path / name)) for name in ("plain", "flipped"))
    run(experiment(study_file, "methods=[linear]"), plain)
    run(chosen, flipped)
    assert artifacts(plain).keys() != artifacts(flipped).keys()  # another experiment, by name
