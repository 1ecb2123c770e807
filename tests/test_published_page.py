"""The published table on a network's page: the cells of `weigh paper`, with their notes."""

from __future__ import annotations

import re
from html import unescape

import pytest

import weighbridge
from weighbridge import papers
from weighbridge.reports.page.published import published


def section(page):
    return page.partition('<section class="published"')[2].partition("</section>")[0]


def plain(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def cells(page, label):
    row = section(page).partition(f">{label}</th>")[2].partition("</tr>")[0]
    return [plain(cell) for cell in re.findall(r"<td.*?</td>", row)]


def test_a_cell_is_what_is_printed_beside_what_is_computed():
    page = weighbridge.weigh("googlenet").page()
    # Szegedy et al. 2015, table 1: 159K and 128M; 380K and 304M
    assert cells(page, "inception (3a)") == ["159K 159.9K ≈ (2)", "128M 128.0M ="]
    assert cells(page, "inception (3b)") == ["380K 379.6K = (3)", "304M 304.3M ="]
    assert cells(page, "as a full 7×7") == ["9.25K ✗", "118.0M ✗"]
    assert "159.9K is cut to 159K and not rounded" in plain(section(page))
    assert "13 of 24 cells agree to the printed digit, 4 are explained, 7 are open" in page


@pytest.mark.parametrize("name", papers.names())
def test_every_cell_and_every_note_is_there(name):
    table = papers.table(name)
    shown = published(table, "")
    there = [cell for _, _, row in shown.rows for cell in row if cell is not None]
    known = [cell for row in table.rows for cell in row.cells.values()]
    assert [cell.verdict for cell in there] == [cell.verdict for cell in known]
    assert {cell.note for cell in there if cell.note} <= {number for number, _ in shown.notes}
    assert not any(cell.mine for cell in there)


def test_cells_that_are_read_of_the_network_are_marked():
    # VGG's table 2: configuration D is VGG-16, of 138 million parameters
    page = weighbridge.weigh("vgg16").page()
    row = section(page).partition(">D</th>")[2].partition("</tr>")[0]
    assert row.count(" mine") == 2
    assert section(page).count(" mine") == 2


@pytest.mark.torch
def test_the_same_network_by_another_frontend_has_the_table():
    pytest.importorskip("torchvision")
    assert "As published: VGG" in weighbridge.weigh("torchvision:vgg11").page()


def test_a_network_of_no_published_table_has_none():
    assert section(weighbridge.weigh("lenet5").page()) == ""
    assert section(weighbridge.weigh("100 -> (fc)10").page()) == ""
