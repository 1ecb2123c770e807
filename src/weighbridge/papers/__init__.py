"""Published tables, each cell beside the figure that its network really comes to.

A paper prints rounded figures, and does not always say of what: with or without biases, K for 1000 or
1024, multiply-adds or twice as many. A file here is one such table: what is printed, cell by cell, and
the *reading* by which each cell is computed from the network in the zoo. Where the figure so computed
does not print as the paper has it, the cell says which other reading does, and where no reading does, its note
says what the sums come to. Notes make claims; each claim is a reading with the figure that it
comes to, so that no number in a note is a matter of trust.

    table("googlenet").rows[0].cells["params"].computed      # 2712

Adding a table is adding a TOML file to this folder; `docs/papers.md` describes the keys.
"""

from __future__ import annotations

from .figures import Figure, Rounding, decimal
from .readings import Quantity, Reading, terms
from .tables import Cell, Claim, Column, Note, PaperTable, Row, Verdict, names, table

__all__ = [
    "Cell",
    "Claim",
    "Column",
    "Figure",
    "Note",
    "PaperTable",
    "Quantity",
    "Reading",
    "Rounding",
    "Row",
    "Verdict",
    "decimal",
    "names",
    "table",
    "terms",
]
