"""Proposition 1 of the LION paper, made concrete: a prompt before the backbone can do what one behind it cannot.

Linear frozen F (m x n, rank r) and target map M (k x n). Before: C F A = M has a solution with invertible A for every M
of rank at most r. Behind: C B F = M has one only where null F lies within null M. It is why LION has two layers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

CASES = [(8, 5, 3, 2), (10, 10, 4, 4), (6, 9, 5, 1), (7, 4, 4, 3)]  # inputs n, features m, rank r of F, rank of M


def drawn(shape: tuple[int, int], rank: int, seed: int) -> Tensor:
    """A float64 matrix of the given rank."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((shape[0], rank), (rank, shape[1]))
    )
    return left @ right


def prompt_before(F: Tensor, M: Tensor) -> tuple[Tensor, Tensor]:
    """Invertible A and C with C F A = M: A carries the row space of M onto directions that F keeps."""
    _, _, rows_of_f = torch.linalg.svd(F)  # orthonormal rows, those that F keeps first
    u, s, rows_of_m = torch.linalg.svd(M)
    A = rows_of_f.T @ rows_of_m  # orthogonal, so invertible
    rank = len(s)
    wanted = torch.zeros(M.shape, dtype=M.dtype)
    wanted[:, :rank] = u[:, :rank] * s
    return A, wanted @ rows_of_f @ torch.linalg.pinv(F)


@pytest.mark.parametrize(("n", "m", "rank", "target_rank"), CASES)
def test_before_the_backbone_every_target_of_no_higher_rank_is_reached(
    n: int, m: int, rank: int, target_rank: int
) -> None:
    F, M = drawn((m, n), rank, 0), drawn((5, n), target_rank, 1)
    A, C = prompt_before(F, M)
    torch.testing.assert_close(C @ F @ A, M, rtol=1e-8, atol=1e-8)
    assert torch.linalg.matrix_rank(A) == n


@pytest.mark.parametrize(("n", "m", "rank", "target_rank"), CASES)
def test_behind_the_backbone_what_it_lost_stays_lost(n: int, m: int, rank: int, target_rank: int) -> None:
    F, M = drawn((m, n), rank, 0), drawn((5, n), target_rank, 1)
    best = M @ torch.linalg.pinv(F) @ F  # the closest C B F can come, whatever B and C
    lost = torch.eye(n, dtype=torch.float64) - torch.linalg.pinv(F) @ F  # projection onto null F
    torch.testing.assert_close((M - best).norm(), (M @ lost).norm())
    assert (M @ lost).norm() > 0.1 * M.norm(), "a random M does not vanish on null F"


def test_behind_the_backbone_is_enough_exactly_where_null_f_is_within_null_m() -> None:
    F = drawn((6, 9), 4, 0)
    M = drawn((5, 6), 3, 1) @ F
    reached = M @ torch.linalg.pinv(F) @ F
    torch.testing.assert_close(reached, M, rtol=1e-8, atol=1e-8)


def test_the_table_in_the_docs_is_what_is_computed() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "proposition_1.md").read_text()
    for n, m, rank, target_rank in CASES:
        F, M = drawn((m, n), rank, 0), drawn((5, n), target_rank, 1)
        A, C = prompt_before(F, M)
        assert (C @ F @ A - M).norm() < 1e-12 * M.norm()
        behind = (M - M @ torch.linalg.pinv(F) @ F).norm() / M.norm()
        assert f"| {n}, {m}, {rank}, {target_rank} | < 1e-12 | {behind:.2f} |" in text
