"""Datasets: a name or a URL in the study file → labels and splits (`find`) → read-only pixels (`Source.decode`).

`catalogue` knows sets by name, `readers` read any URL, `packages` reads sets inside Python packages; `splits` plans,
`sampling` draws, `fingerprint` gives the content digest, `decoding` resizes, `skipping` leaves out bad images. Training
needs only `Source` from outside, prediction `find_images` and `decode`.
"""

from lion_ray.data.catalogue import names
from lion_ray.data.dataset import Dataset, Split
from lion_ray.data.decode.decoding import Resize, decode
from lion_ray.data.decode.joined import JoinedSplit
from lion_ray.data.decode.storage import Storage, fitting
from lion_ray.data.decode.streaming import ahead
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
    "Storage",
    "ahead",
    "decode",
    "find",
    "find_images",
    "fitting",
    "names",
]
