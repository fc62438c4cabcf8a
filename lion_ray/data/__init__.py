"""Datasets: a name or a URL in the study file → labels and splits (`find`) → read-only pixels (`Source.decode`).

`catalog` knows sets by name, `parquet` and `folder` read any URL, `packages` reads sets inside Python packages;
`splits` plans, `fingerprint` gives the content digest, `decoding` resizes. Only `Source` is needed from outside.
"""

from lion_ray.data.catalog import names
from lion_ray.data.dataset import Dataset, Split
from lion_ray.data.source import Source, find

__all__ = ["Dataset", "Source", "Split", "find", "names"]
