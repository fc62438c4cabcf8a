"""From one record of a TFDS-prepared set (a mapping of NumPy values) to its label and its pixels.

The tasks that have no `label` of their own are those of VTAB: object counts and distances in bins, and the factors of
dSprites and smallNORB. Thresholds and bins are those of google-research/task_adaptation. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lion_ray.data.item import BadData

Record = Mapping[str, Any]
Pixels = npt.NDArray[np.uint8]

CLEVR_DISTANCES = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
KITTI_DISTANCES = (-100.0, 8.0, 20.0, 999.0)
CLEVR_FEWEST = 3
KITTI_VEHICLES = 3  # the types below it are Car, Van and Truck
NO_VEHICLE = 1000.0


def label_of(rule: str, record: Record, num_classes: int) -> int:
    """The label by a rule of `LABELS`.

    Raises:
        BadData: the record lacks a field, or its label is outside 0..num_classes-1.
    """
    try:
        label = LABELS[rule](record)
    except KeyError as error:
        raise BadData(f"the record has no field {error} (it has: {', '.join(record)})") from error
    if not 0 <= label < num_classes:
        raise BadData(f"label {label} of rule {rule} is outside 0..{num_classes - 1}")
    return label


def image_of(rule: str, record: Record) -> Pixels:
    """The pixels by a rule of `IMAGES`: uint8, (H, W, 3), or (H, W) for grey ones.

    Raises:
        BadData: the record has no image, or it is no uint8 image.
    """
    if "image" not in record:
        raise BadData(f"the record has no field 'image' (it has: {', '.join(record)})")
    image = np.asarray(record["image"])
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise BadData(f"image is {image.dtype} {image.shape}, not uint8 (H, W, 1) or (H, W, 3)")
    return IMAGES[rule](image)


def clevr_count(record: Record) -> int:
    """Objects in the scene less the 3 that every scene has."""
    return len(record["objects"]["size"]) - CLEVR_FEWEST


def clevr_dist(record: Record) -> int:
    """The bin of the nearest object's distance, the third of its `pixel_coords`."""
    distances = np.asarray(record["objects"]["pixel_coords"]).reshape(-1, 3)[:, 2]
    return _bin(np.min(distances, initial=np.inf), CLEVR_DISTANCES)


def kitti(record: Record) -> int:
    """The bin of the nearest vehicle's depth in metres; the last bin is for scenes without a vehicle."""
    objects = record["objects"]
    is_vehicle = np.asarray(objects["type"]) < KITTI_VEHICLES
    depths = np.asarray(objects["location"]).reshape(-1, 3)[is_vehicle, 2]
    return _bin(np.min(depths, initial=NO_VEHICLE), KITTI_DISTANCES)


def dsprites_loc(record: Record) -> int:
    """32 positions along x in 16 classes."""
    return _number(record["label_x_position"]) // 2


def dsprites_ori(record: Record) -> int:
    """40 orientations in 16 classes of 2.5: of three and two by turns."""
    return _number(record["label_orientation"]) * 2 // 5


def _field(name: str) -> Callable[[Record], int]:
    return lambda record: _number(record[name])


def _number(value: Any) -> int:
    """A scalar, or an array of one, as records hold it."""
    return int(np.asarray(value).item())


def _bin(value: float, thresholds: Sequence[float]) -> int:
    """The last threshold that lies strictly below `value`; -1, which is no label, if none does."""
    return sum(bool(threshold < value) for threshold in thresholds) - 1


def _as_it_is(image: Pixels) -> Pixels:
    return image if image.shape[2] == 3 else image[:, :, 0]


def _binary(image: Pixels) -> Pixels:
    """0 and 1 as black and white in three channels."""
    if image.max(initial=0) > 1:
        raise BadData(f"image holds {image.max()}, but a binary one holds 0 and 1")
    return np.repeat(image[:, :, :1] * np.uint8(255), 3, axis=2)


LABELS: Mapping[str, Callable[[Record], int]] = {
    "label": _field("label"),
    "clevr_count": clevr_count,
    "clevr_dist": clevr_dist,
    "kitti": kitti,
    "dsprites_loc": dsprites_loc,
    "dsprites_ori": dsprites_ori,
    "smallnorb_azi": _field("label_azimuth"),
    "smallnorb_ele": _field("label_elevation"),
}
IMAGES: Mapping[str, Callable[[Pixels], Pixels]] = {"image": _as_it_is, "binary": _binary}
