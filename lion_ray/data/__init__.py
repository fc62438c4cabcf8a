"""Datasets: from a name or URL in the study file to labels and splits (`find`) and to pixels (`Source.decode`).

`catalogue` holds the datasets known by name, and `readers` reads every format at a URL. `select` chooses the images of
each split, `decode` turns them into arrays, `build` writes a dataset as Parquet, and `verify` checks one.
`lion_ray.experiments` and `lion_ray.sweep` call `find`; `lion_ray.ticket` calls `find_images` and `decode`.
"""

from lion_ray.data.catalogue import names
from lion_ray.data.dataset import Dataset, Split
from lion_ray.data.decode.decoding import Resize, decode
from lion_ray.data.decode.joined import JoinedSplit
from lion_ray.data.decode.storage import SplitStorage, fit_in_memory
from lion_ray.data.decode.streaming import prefetch
from lion_ray.data.item import BadData, EncodedImage
from lion_ray.data.readers.unlabelled import Image, find_images
from lion_ray.data.source import Source, find

__all__ = [
    "BadData",
    "Dataset",
    "EncodedImage",
    "Image",
    "JoinedSplit",
    "Resize",
    "Source",
    "Split",
    "SplitStorage",
    "decode",
    "find",
    "find_images",
    "fit_in_memory",
    "names",
    "prefetch",
]
