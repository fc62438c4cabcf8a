"""A device that is none: tensors on it are tensors on the host that must not meet those that stayed there.

CUDA's rules without a GPU: an operation on tensors of two devices raises, but for numbers, indices and copies, and so
does one that has no deterministic form there. What makes the host wait for the device is counted. PyTorch keeps such a
device until the process ends, so it is for one of its own.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
TAKES_INDICES = {"aten::index.Tensor", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}  # of the host
ASKS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero"}
REFUSED = re.compile(
    r"aten::(_adaptive_avg_pool[23]d_backward|adaptive_max_pool2d_backward|avg_pool3d_backward"
    r"|fractional_max_pool[23]d_backward|max_unpool[23]d|reflection_pad.*_backward|grid_sampler_.*_backward"
    r"|_?upsample_(linear1d|bilinear2d|bicubic2d|trilinear3d|lanczos2d)(_aa)?_backward|_?ctc_loss_backward|nll_loss2d.*"
    r"|_embedding_bag_dense_backward|put_|histc|bincount|kthvalue|nanmedian|median)"
)  # by CUDA where bits count (the documentation of `torch.use_deterministic_algorithms`)
COPIES = {"aten::_to_copy", "aten::copy_"}
waited: Counter[str] = Counter()  # by operation: how often the host waited for what the device still computed
_kept: list[Any] = []


class _Module(backend_registration._DummyBackendModule):
    def _lazy_init(self) -> None: ...

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0


class _Tensor(torch.Tensor):
    """`host` has the numbers."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls: type[_Tensor], host: torch.Tensor) -> _Tensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
        )
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:  # PyTorch's refuses subclasses
        return self.cpu().tolist()


class Pretending(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, tensors can be made on the device and moved to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def install() -> torch.device:
    """The device, from now on, where bits count (`train.deterministic`)."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
    autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")  # type: ignore[no-untyped-call]  # casts nothing
    autocast.fallback(torch.library.fallthrough_kernel)  # type: ignore[no-untyped-call]
    kernels = torch.library.Library("aten", "IMPL", "PrivateUse1")  # type: ignore[no-untyped-call]  # below all modes
    kernels.impl("empty_strided", _empty_strided)  # type: ignore[no-untyped-call]
    kernels.impl("_copy_from", _copy_from)  # type: ignore[no-untyped-call]
    _kept.extend([autocast, kernels])
    torch.use_deterministic_algorithms(True)
    torch.__future__.set_swap_module_params_on_conversion(True)  # a moved parameter stays itself, as on CUDA
    return torch.device(NAME, 0)


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name, target = func.name(), kwargs.get("device")
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    mine = [leaf for leaf in leaves if isinstance(leaf, _Tensor)]
    to_device = bool(mine) if target is None else torch.device(target).type == NAME
    if name in COPIES:
        crosses = len({isinstance(leaf, _Tensor) for leaf in leaves}) > 1 or to_device != bool(mine)
        waited[name] += crosses and not (to_device and kwargs.get("non_blocking"))
    elif mine:
        waited[name] += name in ASKS
        _check(name, args, kwargs)
    own = {key: "cpu" if key == "device" and value is not None else value for key, value in kwargs.items()}
    out = func(*tree_map(_host, args), **tree_map(_host, own))
    if not to_device:
        return out
    same = {id(tensor.host): tensor for tensor in mine}
    return tree_map(lambda leaf: same.get(id(leaf), _Tensor(leaf)) if isinstance(leaf, torch.Tensor) else leaf, out)


def _check(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    if torch.are_deterministic_algorithms_enabled() and REFUSED.match(name):
        _refuse(f"{name} does not have a deterministic implementation")
    checked = [args[0], *args[2:]] if name in TAKES_INDICES else args
    for leaf in tree_leaves((checked, kwargs)):
        if isinstance(leaf, torch.Tensor) and not isinstance(leaf, _Tensor) and leaf.dim() > 0:
            _refuse(f"{name}: tensors on two devices, one of shape {tuple(leaf.shape)} is on the host")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr, flush=True)  # raised in a backward pass it ends the process
    raise RuntimeError(message)


def _host(leaf: Any) -> Any:
    return leaf.host if isinstance(leaf, _Tensor) else leaf


def _empty_strided(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype, **_: Any) -> torch.Tensor:
    return _Tensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    waited["aten::_copy_from"] += not non_blocking
    _host(target).copy_(_host(source))
    return target
