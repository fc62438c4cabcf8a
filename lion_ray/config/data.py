"""A dataset entry of the study file with its modifiers, and the `data` section.

`lion_ray.data.find` receives a `DatasetConfig` and the `DataConfig`. The modifiers of an entry are part of an
experiment's identity. The `data` section is not; only the images that it lets the reader skip are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lion_ray.config.base import SLUG, Frozen, Place

MODIFIERS = ("shots", "imbalance", "subset", "label_noise")
EXCLUSIVE_KEYS = (
    ("val", "num_val", "each says how large val is"),
    ("shots", "imbalance", "each says how many images a class keeps"),
    ("shots", "subset", "shots fixes how many images there are"),
    ("shots", "num_train", "shots fixes how many images there are"),
    ("subset", "num_train", "each says how many images train keeps"),
)


class DataConfig(Frozen):
    """Where datasets are found, and where their decoded images are kept.

    `root` is the URL below which `lion-ray data build` has written datasets of the catalogue, one folder each. With
    `on_bad_image: skip` images that cannot be decoded are left out and counted; by default the first one is an error.
    Decoded images take up to `memory_gb` of each node's object store (None: half of the smallest object store).
    Further training images go to the folder `cache` on each node (None: a folder below the node's `TMPDIR`).
    """

    root: Place | None = Field(
        default=None, min_length=1, description="Path or URL below which built catalogue sets lie, one folder each."
    )
    on_bad_image: Literal["error", "skip"] = Field(
        default="error",
        description="Whether the first image that cannot be decoded ends the study, or all such are left out.",
    )
    memory_gb: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Decoded images in each node's object store; null is half of the smallest one."
    )
    cache: Place | None = Field(
        default=None,
        min_length=1,
        description="Folder on each node for training images beyond `memory_gb`; null is below its `TMPDIR`.",
    )


class ImbalanceConfig(Frozen):
    """A long-tailed training split. The first class keeps `ratio` times as many images as the last class."""

    kind: Literal["exponential"] = Field(default="exponential", description="How the classes' sizes fall.")
    ratio: float = Field(gt=1, description="How many times as many images the first class keeps as the last.")


class LabelNoiseConfig(Frozen):
    """Wrong training labels. The share `rate` of the labels is replaced by other classes, drawn uniformly."""

    kind: Literal["symmetric"] = Field(default="symmetric", description="Each other class is as likely.")
    rate: float = Field(gt=0, le=1, description="Share of the training labels that become wrong, exactly.")


class DatasetConfig(Frozen):
    """A dataset of the catalogue, or with `url` the user's own data, which `lion_ray.data.readers` reads.

    `num_train`, `num_val` and `num_test` keep the first images of an order that depends on the dataset's name alone.
    `val` is the share of the training images that becomes the val split if the source has none. `shots` (images per
    class), `imbalance`, `subset` and `label_noise` change the training split only; they draw with `seed`
    (`lion_ray.data.select.sampling`).
    """

    name: str = Field(
        pattern=SLUG, description="A catalogue name (`lion-ray data list`), or with `url` one of your own."
    )
    url: Place | None = Field(
        default=None, description="Where your data lies; null looks the name up in the catalogue."
    )
    format: str | None = Field(
        default=None, description="How the source is stored, if its files do not say; see data.md."
    )
    image_column: str | None = Field(
        default=None, description="Which column of the source holds the images; null is the format's own."
    )
    label_column: str | None = Field(
        default=None, description="Which column, key or feature holds the labels; null is the format's own."
    )
    num_train: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Training images: the first of a fixed order."
    )
    num_val: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Validation images: the first of a fixed order."
    )
    num_test: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Test images: the first of a fixed order."
    )
    val: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Share of the training images that becomes val where the source has none."
    )
    shots: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Training images per class, exactly.")
    imbalance: ImbalanceConfig | None = Field(default=None, description="Makes a long tail of the training images.")
    subset: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of training images, drawn at random."
    )
    label_noise: LabelNoiseConfig | None = Field(default=None, description="Makes some training labels wrong.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of `shots`, `imbalance`, `subset` and `label_noise`."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> DatasetConfig:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        for one, other, reason in EXCLUSIVE_KEYS:
            if {one, other} <= given:
                raise ValueError(f"{one} and {other} are both given: {reason}")
        if self.seed and not self.modifiers:
            raise ValueError(f"seed draws for {', '.join(MODIFIERS)}, and none of them is given")
        return self

    @property
    def modifiers(self) -> dict[str, object]:
        """The modifiers that are given and their seed, as JSON for the identity; empty if none is given."""
        given = self.model_dump(mode="json", include=set(MODIFIERS), exclude_none=True)
        return {**given, "seed": self.seed} if given else {}
