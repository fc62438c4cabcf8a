"""Escaping of texts from studies and stores for spreadsheets, Markdown and LaTeX.

Method labels, failures and study names may hold any characters. `lion_ray.report.exports`, `comparison` and `lottery`
write through here; the template of the HTML page escapes by itself.
"""

from __future__ import annotations

import re

FORMULA = ("=", "+", "-", "@", "\t", "\r")
MARKDOWN = {letter: f"\\{letter}" for letter in "\\|[]`"} | {"<": "&lt;"}
TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}
TEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"} | {"≈": r"$\approx$"}


def csv_cell(value: object) -> object:
    """A cell for CSV. A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) else value


def markdown_row(cells: tuple[str, ...] | list[str]) -> str:
    """One row of a Markdown table, in which no cell can begin another cell, a link, code or HTML."""
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"


def markdown_text(text: str) -> str:
    """A text in one line with Markdown's signs escaped, but for the asterisks of bold text."""
    return "".join(MARKDOWN.get(letter, letter) for letter in " ".join(text.split()))


def tex(cell: str) -> str:
    """A cell for LaTeX. A text that is bold in Markdown (`**text**`) stays bold."""
    bold = re.fullmatch(r"\*\*(.*)\*\*", cell, re.DOTALL)
    text = "".join(TEX.get(letter, letter) for letter in " ".join((bold[1] if bold else cell).split()))
    return rf"\textbf{{{text}}}" if bold else text
