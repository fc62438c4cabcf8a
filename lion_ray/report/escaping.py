"""Text from studies and stores in files that other programs read: nothing in a name acts there.

Method labels, failures and study names are anybody's. `exports`, `comparison` and `lottery` write through here; the
HTML page escapes by itself.
"""

from __future__ import annotations

import re

FORMULA = ("=", "+", "-", "@", "\t", "\r")
MARKDOWN = {letter: f"\\{letter}" for letter in "\\|[]`"} | {"<": "&lt;"}
TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}
TEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"} | {"≈": r"$\approx$"}


def csv_cell(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) else value


def markdown_row(cells: tuple[str, ...] | list[str]) -> str:
    """One row of a table: no cell begins another one, a link, code or HTML."""
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"


def markdown_text(text: str) -> str:
    """In one line; bold stays."""
    return "".join(MARKDOWN.get(letter, letter) for letter in " ".join(text.split()))


def tex(cell: str) -> str:
    """LaTeX of a cell, bold if it is in Markdown."""
    bold = re.fullmatch(r"\*\*(.*)\*\*", cell, re.DOTALL)
    text = "".join(TEX.get(letter, letter) for letter in " ".join((bold[1] if bold else cell).split()))
    return rf"\textbf{{{text}}}" if bold else text
