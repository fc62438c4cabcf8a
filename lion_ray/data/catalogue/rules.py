"""Label and pixels of one record of a TFDS-prepared dataset. A record is a mapping of NumPy values.

VTAB has tasks without a field `label`: counts and binned distances of objects, and the factors of dSprites and
smallNORB. Thresholds and bins are those of google-research/task_adaptation. All functions are pure. `cutting` calls
them.
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
    """The label of a record.

    Args:
        rule: the name of a rule in `LABELS`.
        record: the record's features by name.
        num_classes: the label must be below this number.

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
    """The pixels of a record by the rule `IMAGES[rule]`: uint8 (H, W, 3), or (H, W) for a grey image.

    Raises:
        BadData: the record has no image, or the image is not uint8 (H, W, 1) or (H, W, 3).
    """
    if "image" not in record:
        raise BadData(f"the record has no field 'image' (it has: {', '.join(record)})")
    image = np.asarray(record["image"])
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise BadData(f"image is {image.dtype} {image.shape}, not uint8 (H, W, 1) or (H, W, 3)")
    return IMAGES[rule](image)


def clevr_count(record: Record) -> int:
    """The number of objects minus 3, because every scene has at least 3."""
    return len(record["objects"]["size"]) - CLEVR_FEWEST


def clevr_dist(record: Record) -> int:
    """The bin of the nearest object's distance, which is the third entry of `pixel_coords`."""
    distances = np.asarray(record["objects"]["pixel_coords"]).reshape(-1, 3)[:, 2]
    return _bin(np.min(distances, initial=np.inf), CLEVR_DISTANCES)


def kitti(record: Record) -> int:
    """The bin of the nearest vehicle's depth in metres. Scenes without a vehicle have the last bin."""
    objects = record["objects"]
    is_vehicle = np.asarray(objects["type"]) < KITTI_VEHICLES
    depths = np.asarray(objects["location"]).reshape(-1, 3)[is_vehicle, 2]
    return _bin(np.min(depths, initial=NO_VEHICLE), KITTI_DISTANCES)


def dsprites_loc(record: Record) -> int:
    """The x position, 32 values in 16 classes."""
    return _number(record["label_x_position"]) // 2


def dsprites_ori(record: Record) -> int:
    """The orientation, 40 values in 16 classes that have 3 and 2 values by turns."""
    return _number(record["label_orientation"]) * 2 // 5


def _field(name: str) -> Callable[[Record], int]:
    return lambda record: _number(record[name])


def _number(value: Any) -> int:
    """The integer of a scalar or of an array with one entry."""
    return int(np.asarray(value).item())


def _bin(value: float, thresholds: Sequence[float]) -> int:
    """The index of the last threshold strictly below `value`; -1, which is no label, if there is none."""
    return sum(bool(threshold < value) for threshold in thresholds) - 1


def _as_it_is(image: Pixels) -> Pixels:
    return image if image.shape[2] == 3 else image[:, :, 0]


def _binary(image: Pixels) -> Pixels:
    """Convert a binary image, 0 and 1, to black and white in three channels."""
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
