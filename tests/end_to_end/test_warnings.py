"""Warnings for people: one line, once, no secret."""

from __future__ import annotations

import warnings

from lion_ray.console import plain_warnings


def test_a_warning_is_one_line_said_once_and_afterwards_all_is_as_before() -> None:
    def formatted(text: str) -> str:
        return warnings.formatwarning(UserWarning(text), UserWarning, "file.py", 7, "the source")

    before = formatted("x")
    assert "file.py" in before
    with plain_warnings():
        assert formatted("one\nof https://me:secret@host/x") == "Warning: one of https://***@host/x\n"
        assert formatted("one of https://me:secret@host/x") == ""
        assert formatted("another") == "Warning: another\n"
    assert formatted("x") == before
