"""Anderson acceleration (type II, difference form) with one small least-squares problem per sample.

The last `window` differences of f(z) and of f(z) - z predict a combination whose residual is smallest, for the last
point that counted (see `safeguard`). Each evaluation adds a difference, whether it counts or not. Where nothing is
known of f, a refusal halves the share of the predicted residual that is added, and a success doubles it: a Picard step
that leads away becomes a damped one that does not. A sample whose normal equations are singular takes the Picard step.
Source: Walker and Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lion_ray.implicit.norms import flat
from lion_ray.implicit.safeguard import StallPatience, Standing, first, judged
from lion_ray.implicit.solvers import Advance, Solver, per_sample

PATIENCE = StallPatience()


@dataclass(frozen=True, kw_only=True)
class History:
    """What Anderson remembers; columns are ordered from old to new, k <= window of them.

    value, error              the last evaluated f(z) and f(z) - z, (B, ...); None before the first step.
    value_steps, error_steps  k differences of consecutive values and errors, each (B, ...).
    products                  inner products of the error differences, (B, k, k).
    contraction, standing     what is known of f, and where the search stands; None before the first step.
    """

    value: Tensor | None
    error: Tensor | None
    value_steps: tuple[Tensor, ...]
    error_steps: tuple[Tensor, ...]
    products: Tensor
    contraction: float | None
    standing: Standing | None


@dataclass(frozen=True, kw_only=True)
class Anderson(Solver[History]):
    """`window` differences, Tikhonov `regularisation` of the normalised system, `damping` of the new residual.

    Columns are scaled to length 1 before the solve, so the regularisation means the same at every width and scale:
    1e-5 is above fp32 rounding of the inner products, and step counts are the same from 0 to 1e-3.
    """

    window: int = 5
    regularisation: float = 1e-5
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}: keep at least 1 difference, or use Picard()")
        if not (math.isfinite(self.regularisation) and self.regularisation >= 0):
            raise ValueError(f"regularisation is {self.regularisation}: give 0 or a small positive number")
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping is {self.damping}: it lies in (0, 1], 1 is undamped")

    def init(self, z0: Tensor, *, contraction: float | None = None) -> History:
        return History(
            value=None,
            error=None,
            value_steps=(),
            error_steps=(),
            products=z0.new_zeros(len(z0), 0, 0),
            contraction=contraction,
            standing=None,
        )

    def step(self, state: History, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[History]:
        """From the last point that counted by its window; the Picard step if owed, or if the system is singular."""
        error = value - z
        history = self._remember(state, value, error)
        if state.standing is None:
            standing = first(value, error, distance)
            return Advance(z=self._mix(history, standing, None), state=replace(history, standing=standing))
        standing = judged(state.standing, value, error, distance, contraction=history.contraction, patience=PATIENCE)
        history = replace(history, standing=standing)
        with torch.no_grad():
            weights, singular = _least_squares(history, standing.error, self.regularisation)
        plain = singular | (standing.owed > 0)
        picard = self._mix(history, standing, None) if history.contraction is None else standing.point
        z = torch.where(per_sample(plain, value), picard, self._mix(history, standing, weights))
        return Advance(z=z, state=history, fallback=plain | standing.refused)

    def _remember(self, state: History, value: Tensor, error: Tensor) -> History:
        """Add the newest differences; forget the oldest beyond the window."""
        if state.value is None or state.error is None:
            return replace(state, value=value, error=error)
        keep = slice(1, None) if len(state.error_steps) == self.window else slice(None)
        error_steps = (*state.error_steps[keep], error - state.error)
        with torch.no_grad():
            products = _grow(state.products[:, keep, keep], _inner_products(error_steps, error_steps[-1]))
        return replace(
            state,
            value=value,
            error=error,
            value_steps=(*state.value_steps[keep], value - state.value),
            error_steps=error_steps,
            products=products,
        )

    def _mix(self, history: History, standing: Standing, weights: Tensor | None) -> Tensor:
        """The predicted point plus `damping` times its predicted residual, times the share that is taken."""
        undamped = per_sample(1 - self.damping * standing.share, standing.point)
        z = standing.point - undamped * standing.error
        if weights is None:
            return z
        for column, (value_step, error_step) in enumerate(zip(history.value_steps, history.error_steps, strict=True)):
            z = z - per_sample(weights[:, column], z) * (value_step - undamped * error_step)
        return z


def _inner_products(columns: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """Inner product of each column with x, per sample: (B, k)."""
    return torch.stack([flat(column * x).sum(1) for column in columns], dim=1)


def _grow(products: Tensor, newest: Tensor) -> Tensor:
    """Border the symmetric (B, k, k) matrix with the newest row (B, k + 1)."""
    upper = torch.cat([products, newest[:, :-1, None]], dim=2)
    return torch.cat([upper, newest[:, None, :]], dim=1)


def _least_squares(history: History, error: Tensor, regularisation: float) -> tuple[Tensor, Tensor]:
    """Weights (B, k) minimising ||error - sum_i w_i error_step_i||, and which samples' systems are singular (B,).

    A column that is zero or not finite becomes a unit column with weight 0. Pivots at rounding level count as singular.
    """
    products = history.products
    square = products.diagonal(dim1=1, dim2=2)
    usable = square.isfinite() & (square > 0)
    scale = torch.where(usable, square, 1).rsqrt()
    pairs = usable[:, :, None] & usable[:, None, :]
    gram = torch.where(pairs, products * scale[:, :, None] * scale[:, None, :], 0)
    gram = gram + torch.diag_embed(torch.where(usable, regularisation, 1.0).to(gram.dtype))
    target = torch.where(usable, _inner_products(history.error_steps, error) * scale, 0)
    factor, info = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=1, dim2=2).square().amin(1)
    weights = torch.cholesky_solve(target[:, :, None], factor)[:, :, 0] * scale
    rounding = products.shape[1] * torch.finfo(products.dtype).eps
    singular = (info != 0) | ~(pivots > rounding) | ~weights.isfinite().all(1)
    return torch.where(singular[:, None], 0, weights), singular
