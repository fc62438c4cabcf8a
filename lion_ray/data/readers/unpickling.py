"""Reading a NumPy array from an untrusted pickle. Only the names that arrays need are allowed, so no code can run.

`packages` reads Animal-MNIST with it, the only dataset of the catalogue that is stored as pickles.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lion_ray.data.item import BadData

_reconstruct: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]

ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # written by NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # written by NumPy 2
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise BadData(f"the pickle asks for {module}.{name}; only NumPy arrays are read")
        return ADMITTED[module, name]


def load_array(payload: bytes) -> npt.NDArray[Any]:
    """Read the only array in a pickle.

    Raises:
        BadData: the pickle names another global, is damaged, or holds something else than one array of numbers.
    """
    try:
        value = _ArrayUnpickler(io.BytesIO(payload)).load()
    except (pickle.UnpicklingError, EOFError, TypeError, AttributeError, IndexError) as error:
        raise BadData(f"the pickle cannot be read ({error})") from error
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        raise BadData(f"the pickle holds {type(value).__name__}, not an array of numbers")
    return value
