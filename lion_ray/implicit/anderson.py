"""Anderson acceleration (type II, difference form) with one small least-squares problem per sample.

The last `window` differences of f(z) and of f(z) - z give the combination with the smallest predicted residual. It
starts at the last accepted point (see `safeguard`). Each evaluation adds a difference, even if it is rejected. Where no
contraction factor is known, a rejection halves the share of the predicted residual that is added, and an accepted step
doubles it. A Picard step that leads away from the equilibrium thus becomes a damped step. A sample with singular normal
equations takes the Picard step. `lion_ray.methods.equilibrium` builds this solver.
Source: Walker and Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lion_ray.implicit.norms import flat
from lion_ray.implicit.safeguard import AcceptanceRule, SafeguardState, initial_safeguard, updated_safeguard
from lion_ray.implicit.solvers import Solver, SolverStep, per_sample

ACCEPTANCE = AcceptanceRule()


@dataclass(frozen=True, kw_only=True)
class AndersonState:
    """The state of Anderson acceleration between two steps. It holds k <= window differences, from old to new.

    Attributes:
        value, error: (B, ...) the last evaluated f(z) and f(z) - z; None before the first step.
        value_steps, error_steps: k differences of consecutive values and errors, each (B, ...).
        products: (B, k, k) inner products of the error differences.
        contraction: the factor < 1 by which f contracts; None if no factor is known.
        safeguard: the accepted points and rejections; None before the first step.
    """

    value: Tensor | None
    error: Tensor | None
    value_steps: tuple[Tensor, ...]
    error_steps: tuple[Tensor, ...]
    products: Tensor
    contraction: float | None
    safeguard: SafeguardState | None


@dataclass(frozen=True, kw_only=True)
class Anderson(Solver[AndersonState]):
    """Anderson acceleration.

    Columns are scaled to length 1 before the least-squares solve, so the regularisation means the same at every width
    and scale. The default 1e-5 is above the fp32 rounding of the inner products; from 0 to 1e-3 the step counts do not
    change.

    Args:
        window: how many differences are kept.
        regularisation: Tikhonov term on the diagonal of the normalised normal equations, at least 0.
        damping: the share of the predicted residual that is added, in (0, 1]; 1 is undamped.

    Raises:
        ValueError: an argument is out of range.
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

    def init(self, z0: Tensor, *, contraction: float | None = None) -> AndersonState:
        return AndersonState(
            value=None,
            error=None,
            value_steps=(),
            error_steps=(),
            products=z0.new_zeros(len(z0), 0, 0),
            contraction=contraction,
            safeguard=None,
        )

    def step(self, state: AndersonState, *, z: Tensor, value: Tensor, distance: Tensor) -> SolverStep[AndersonState]:
        """See `Solver.step`. Steps from the last accepted point, or by Picard if due or if the system is singular."""
        error = value - z
        state = self._remember(state, value, error)
        if state.safeguard is None:
            safeguard = initial_safeguard(value, error, distance)
            return SolverStep(z=self._mix(state, safeguard, None), state=replace(state, safeguard=safeguard))
        safeguard = updated_safeguard(
            state.safeguard, value, error, distance, contraction=state.contraction, acceptance=ACCEPTANCE
        )
        state = replace(state, safeguard=safeguard)
        with torch.no_grad():
            weights, singular = _least_squares(state, safeguard.error, self.regularisation)
        plain = singular | (safeguard.picard_steps_left > 0)
        picard = self._mix(state, safeguard, None) if state.contraction is None else safeguard.point
        z = torch.where(per_sample(plain, value), picard, self._mix(state, safeguard, weights))
        return SolverStep(z=z, state=state, fallback=plain | safeguard.rejected)

    def _remember(self, state: AndersonState, value: Tensor, error: Tensor) -> AndersonState:
        """The state with the newest differences added and the oldest beyond the window dropped."""
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

    def _mix(self, state: AndersonState, safeguard: SafeguardState, weights: Tensor | None) -> Tensor:
        """The predicted point plus its residual times `damping` and the step share; weights None is Picard's step."""
        undamped = per_sample(1 - self.damping * safeguard.step_share, safeguard.point)
        z = safeguard.point - undamped * safeguard.error
        if weights is None:
            return z
        for column, (value_step, error_step) in enumerate(zip(state.value_steps, state.error_steps, strict=True)):
            z = z - per_sample(weights[:, column], z) * (value_step - undamped * error_step)
        return z


def _inner_products(columns: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """Inner product of each column with x, per sample: (B, k)."""
    return torch.stack([flat(column * x).sum(1) for column in columns], dim=1)


def _grow(products: Tensor, newest: Tensor) -> Tensor:
    """Append the newest row and column (B, k + 1) to the symmetric matrix (B, k, k)."""
    upper = torch.cat([products, newest[:, :-1, None]], dim=2)
    return torch.cat([upper, newest[:, None, :]], dim=1)


def _least_squares(state: AndersonState, error: Tensor, regularisation: float) -> tuple[Tensor, Tensor]:
    """Weights (B, k) minimising ||error - sum_i w_i error_step_i||, and which samples' systems are singular (B,).

    A column that is zero or not finite becomes a unit column with weight 0. Pivots at rounding level count as singular.
    """
    products = state.products
    square = products.diagonal(dim1=1, dim2=2)
    usable = square.isfinite() & (square > 0)
    scale = torch.where(usable, square, 1).rsqrt()
    pairs = usable[:, :, None] & usable[:, None, :]
    gram = torch.where(pairs, products * scale[:, :, None] * scale[:, None, :], 0)
    gram = gram + torch.diag_embed(torch.where(usable, regularisation, 1.0).to(gram.dtype))
    target = torch.where(usable, _inner_products(state.error_steps, error) * scale, 0)
    factor, info = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=1, dim2=2).square().amin(1)
    weights = torch.cholesky_solve(target[:, :, None], factor)[:, :, 0] * scale
    rounding = products.shape[1] * torch.finfo(products.dtype).eps
    singular = (info != 0) | ~(pivots > rounding) | ~weights.isfinite().all(1)
    return torch.where(singular[:, None], 0, weights), singular
