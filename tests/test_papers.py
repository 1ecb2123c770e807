"""The published tables, recomputed: L14 to L17 cell by cell, and the claims of every note."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import subprocess
import sys
from fractions import Fraction
from functools import cache

import pytest

from weighbridge import papers
from weighbridge.errors import UsageError
from weighbridge.papers.figures import decimal, figure, rounded
from weighbridge.papers.readings import Reading, terms
from weighbridge.papers.tables import read
from weighbridge.reports import paper

UNITS = {"K": 1024, "M": 1_000_000, "G": 1_000_000_000}

# Table 1 of the GoogLeNet paper: input channels (the row above's output), image side, then #1x1,
# #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
INCEPTIONS = {
    "3a": (192, 28, 64, 96, 128, 16, 32, 32),
    "3b": (256, 28, 128, 128, 192, 32, 96, 64),
    "4a": (480, 14, 192, 96, 208, 16, 48, 64),
    "4b": (512, 14, 160, 112, 224, 24, 64, 64),
    "4c": (512, 14, 128, 128, 256, 24, 64, 64),
    "4d": (512, 14, 112, 144, 288, 32, 64, 64),
    "4e": (528, 14, 256, 160, 320, 32, 128, 128),
    "5a": (832, 7, 256, 160, 320, 32, 128, 128),
    "5b": (832, 7, 384, 192, 384, 48, 128, 128),
}


def weights(inputs, ones, reduce3, threes, reduce5, fives, projection):
    """An inception module's weights without biases, written out as the paper draws it."""
    return (
        inputs * (ones + reduce3 + reduce5 + projection)
        + 9 * reduce3 * threes
        + 25 * reduce5 * fives
    )


paper_table = cache(papers.table)
"""Each table once for all the tests."""


def verdicts(name):
    """(row, column) to verdict, for the paper's cells that do not agree."""
    return {
        (row.label, key): cell.verdict
        for row in paper_table(name).rows
        if not row.variant
        for key, cell in row.cells.items()
        if cell.verdict != "agrees"
    }


def cell(name, label, column):
    (row,) = (row for row in paper_table(name).rows if row.label == label)
    return row.cells[column]


# -- what agrees, what is explained, what is open ------------------------------------------------


def test_the_tables_there_are():
    assert papers.names() == ("densenet", "googlenet", "resnet", "vgg")


@pytest.mark.parametrize(
    ("name", "cells", "different"),
    [
        ("vgg", 12, {}),
        (
            "googlenet",
            24,
            {
                ("inception (3a)", "params"): "explained",
                ("inception (4a)", "params"): "open",
                ("inception (4a)", "ops"): "explained",
                ("inception (4b)", "params"): "explained",
                ("inception (4c)", "params"): "open",
                ("inception (4d)", "params"): "open",
                ("inception (4e)", "params"): "open",
                ("inception (5a)", "params"): "open",
                ("inception (5a)", "ops"): "open",
                ("inception (5b)", "params"): "open",
                ("linear", "params"): "explained",
            },
        ),
        (
            "resnet",
            36,
            {
                ("34-layer", "flops"): "explained",
                ("50-layer", "flops"): "explained",
                ("VGG-16 (§4.1)", "flops"): "explained",
            },
        ),
        ("densenet", 37, {}),
    ],
)
def test_verdicts(name, cells, different):
    table = paper_table(name)
    assert verdicts(name) == different
    assert table.count() == cells
    assert table.count("agrees") == cells - len(different)
    assert table.count("explained") == list(different.values()).count("explained")


@pytest.mark.parametrize("name", papers.names())
def test_every_cell_that_differs_has_a_note(name):
    for row in paper_table(name).rows:
        for found in row.cells.values():
            assert row.variant or found.verdict == "agrees" or found.note is not None, row.label


@pytest.mark.parametrize("name", papers.names())
def test_what_is_explained_is_explained_by_another_reading_of_the_same_table(name):
    """It prints the figure, and it takes no kernels from outside: those would be other numbers."""
    for row in paper_table(name).rows:
        for found in row.cells.values():
            if found.by is None:
                continue
            assert found.verdict == "explained"
            assert found.published.prints(terms(found.by), found.by.rounding, apart=found.by.apart)
            assert not found.published.prints(terms(found.reading), found.reading.rounding)
            assert not found.by.kernels
            assert not found.by.held


# -- what is computed, against sums by hand ------------------------------------------------------


@pytest.mark.parametrize("module", INCEPTIONS)
def test_inception_modules(module):
    inputs, side, *widths = INCEPTIONS[module]
    held = weights(inputs, *widths)
    params, ops = (cell("googlenet", f"inception ({module})", key) for key in ("params", "ops"))
    assert params.computed == held + sum(widths)  # a bias a channel
    assert ops.computed == held * side * side  # every weight once at every position


def test_stem_and_classifier_of_googlenet():
    params, ops = (cell("googlenet", "convolution 7×7", key) for key in ("params", "ops"))
    # 7*7 for each of 3 channels 8 times over, then 24 channels to 64, and 64 biases.
    assert params.computed == 7 * 7 * 3 * 8 + 24 * 64 + 64 == 2_776
    assert ops.computed == 2_712 * 112 * 112 == 34_019_328
    params, ops = (cell("googlenet", "as a full 7×7", key) for key in ("params", "ops"))
    assert (params.computed, ops.computed) == (7 * 7 * 3 * 64 + 64, 7 * 7 * 3 * 64 * 112 * 112)
    params, ops = (cell("googlenet", "convolution 3×3", key) for key in ("params", "ops"))
    # 64 to 64 at 1x1 and 64 to 192 at 3x3, on 56x56.
    assert params.computed == 64 * 64 + 64 + 9 * 64 * 192 + 192
    assert ops.computed == (64 * 64 + 9 * 64 * 192) * 56 * 56
    params, ops = (cell("googlenet", "linear", key) for key in ("params", "ops"))
    assert (params.computed, ops.computed) == (1024 * 1000 + 1000, 1024 * 1000)


def test_parameters_of_vgg():
    # 3x3 convolutions 3-64-128-256-256-512-512-512-512, then 7*7*512-4096-4096-1000, each with biases.
    widths = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    classifier = 25_089 * 4096 + 4097 * 4096 + 4097 * 1000
    a = sum((9 * c + 1) * k for c, k in itertools.pairwise(widths)) + classifier
    b = a + (9 * 64 + 1) * 64 + (9 * 128 + 1) * 128  # one more in each of the first two stages
    c = b + 257 * 256 + 2 * 513 * 512  # 1x1 convolutions in the last three
    d = b + (9 * 256 + 1) * 256 + 2 * (9 * 512 + 1) * 512  # 3x3 in their place
    e = d + (9 * 256 + 1) * 256 + 2 * (9 * 512 + 1) * 512
    found = [cell("vgg", label, "params").computed for label in ("A", "A-LRN", "B", "C", "D", "E")]
    assert found == [a, a, b, c, d, e]
    assert (a, d) == (132_863_336, 138_357_544)  # as torchvision's vgg11 and vgg16


def test_flops_of_resnet():
    # v1.5 comes to 4,089,184,256 (pycls prints 4,089,185,256, the classifier's 1,000 biases with it). v1 strides the
    # 1x1 before: in three first blocks it runs on a quarter of the positions, (56*56 - 28*28) * 256 * 128 less.
    fifty = 4_089_184_256 - 3 * (56 * 56 - 28 * 28) * 256 * 128
    # A further block of conv4_x: 1024-256, 3x3 256-256, 256-1024 on 14x14; one of conv3_x costs the same.
    block = (2 * 1024 * 256 + 9 * 256 * 256) * 14 * 14
    assert block == (2 * 512 * 128 + 9 * 128 * 128) * 28 * 28
    found = [cell("resnet", f"{depth}-layer", "flops").computed for depth in (50, 101, 152)]
    assert found == [fifty, fifty + 17 * block, fifty + (4 + 30) * block]
    # 18: conv1, four stages of four 3x3 of equal cost, of which the three first of a new stage cost half,
    # three projections, fc.
    three = 9 * 64 * 64 * 56 * 56
    projection = 64 * 128 * 28 * 28
    eighteen = 147 * 64 * 112 * 112 + 16 * three - 3 * three // 2 + 3 * projection + 512 * 1000
    assert cell("resnet", "18-layer", "flops").computed == eighteen == 1_814_073_344
    assert cell("resnet", "34-layer", "flops").computed == eighteen + 16 * three


def test_parameters_of_densenet_201():
    # Growth 32, bottlenecks of 128: a layer on c channels has two norms, c*128 and 9*128*32 weights.
    def block(c, layers):
        return sum(
            2 * (c + 32 * i) + 128 * (c + 32 * i) + 2 * 128 + 9 * 128 * 32 for i in range(layers)
        )

    total, c = 147 * 64 + 2 * 64, 64
    for layers in (6, 12, 48):
        total, c = total + block(c, layers), c + 32 * layers
        total, c = total + 2 * c + c * c // 2, c // 2
    total, c = total + block(c, 32), c + 32 * 32
    total += 2 * c + c * 1000 + 1000
    assert cell("densenet", "params (§4.4)", "d201").computed == total == 20_013_928


# -- notes: no number in them is a matter of trust ------------------------------------------------

NOTES = [(name, note) for name in papers.names() for note in paper_table(name).notes]


@pytest.mark.parametrize(("name", "note"), NOTES, ids=[f"{n}-{note.number}" for n, note in NOTES])
def test_claims_hold_and_cover_the_figures_of_the_note(name, note):
    claimed = {claim.published.text.removeprefix("> ") for claim in note.claims}
    for claim in note.claims:
        assert claim.holds, (claim.published.text, claim.computed)
    figures = set(re.findall(r"\b\d[\d,]*(?:\.\d+)?[KMG]\b", note.text))
    table = paper_table(name)
    printed = {c.published.text for row in table.rows for c in row.cells.values()}
    # What is said of the slide (73M) and of a span (8M to 20M) has its own tests below.
    assert figures - claimed - printed <= {"73M", "8M", "20M"}
    assert claimed - figures == set(), "a claim about nothing in the note"


@pytest.mark.parametrize(("name", "note"), NOTES, ids=[f"{n}-{note.number}" for n, note in NOTES])
def test_sums_in_notes_are_right(name, note):
    for left, right in re.findall(r"([\d·+ ]*[·+][\d·+ ]*?) = ([\d,]+)", note.text):
        parts = [part.split("·") for part in left.split("+")]
        total = 0
        for factors in parts:
            product = 1
            for factor in factors:
                product *= int(factor)
            total += product
        assert total == int(right.replace(",", "")), left


def test_the_sum_by_kernel_of_4b():
    by = cell("googlenet", "inception (4b)", "params").by
    assert [held // 1024 for held in terms(by)] == [80, 56, 220, 12, 37, 32]


def test_4e_and_5a_have_the_same_kernels():
    assert INCEPTIONS["4e"][2:] == INCEPTIONS["5a"][2:]


def test_biases_named_in_the_notes():
    assert sum(INCEPTIONS["3b"][2:]) == 640


ROUNDINGS = ("nearest", "down", "up")


def fit(params, ops, positions):
    """Whether some number of weights prints as `params` and, once at each position, as `ops`."""
    params, ops = figure(params, UNITS), figure(ops, UNITS)
    near = range(int(params.value) - 1024, int(params.value) + 1025)
    return any(
        any(params.prints([held], r) for r in ROUNDINGS)
        and any(ops.prints([held * positions], r) for r in ROUNDINGS)
        for held in near
    )


@pytest.mark.parametrize("module", INCEPTIONS)
def test_which_rows_of_googlenet_contradict_themselves(module):
    """However each is rounded, and whatever the kernels: a weight works once at every position."""
    params, ops = (
        cell("googlenet", f"inception ({module})", key).published.text for key in ("params", "ops")
    )
    side = INCEPTIONS[module][1]
    assert fit(params, ops, side * side) == (module not in ("4c", "4d", "4e", "5b"))


def test_the_slide_contradicts_itself_too():
    assert not fit("1380K", "73M", 49)


@pytest.mark.parametrize("module", ["4a", "4c", "4d", "4e", "5a", "5b"])
def test_no_reading_prints_an_open_cell(module):
    found = cell("googlenet", f"inception ({module})", "params")
    for quantity, rounding, apart in itertools.product(
        ("parameters", "weights"), ROUNDINGS, (False, True)
    ):
        for network in ("googlenet", "googlenet-bn"):  # -bn has 3x3 in place of 5x5
            reading = Reading(
                quantity=quantity,
                network=network,
                scopes=(f"inception{module}",),
                rounding=rounding,
                apart=apart,
            )
            assert not found.published.prints(terms(reading), rounding, apart=apart)


def test_changing_one_number_by_sixteens():
    """Which of the seven numbers of an open row, changed alone to another multiple of 16, prints its params?

    Four do, with or without biases, rounded or cut. That is no more than chance: a step of 16 moves the sum
    by 5K to 60K, and anything within 1.5K prints, which makes five hits on average for numbers without
    biases, where two are found.
    """
    hits, expected = set(), Fraction(0)
    for module in ("4a", "4c", "4d", "4e", "5a", "5b"):
        inputs, _, *widths = INCEPTIONS[module]
        numbers = (inputs, *widths)
        printed = cell("googlenet", f"inception ({module})", "params").published
        for place in range(7):
            step = weights(*_with(numbers, place, numbers[place] + 16)) - weights(*numbers)
            expected += Fraction(3, 2) * 1024 / step
            for value in range(16, 1537, 16):
                changed = _with(numbers, place, value)
                for biases in (0, sum(changed[1:])):
                    count = weights(*changed) + biases
                    if any(printed.prints([count], way) for way in ("nearest", "down")):
                        hits.add((module, place, value, "biases" if biases else "weights"))
    assert hits == {
        ("4d", 0, 480, "weights"),
        ("4d", 0, 480, "biases"),
        ("4e", 1, 240, "biases"),
        ("4e", 6, 112, "biases"),
        ("5a", 0, 928, "weights"),
    }
    assert round(expected, 1) == Fraction(49, 10)


def test_numbers_taken_over_from_the_rows_next_to_it():
    """How few of a row's numbers must be a neighbour's for its params to print, and in how many ways."""
    modules = list(INCEPTIONS)
    rows = {module: (inputs, *widths) for module, (inputs, _, *widths) in INCEPTIONS.items()}
    found = {}
    for module in ("4a", "4c", "4d", "4e", "5a", "5b"):
        place = modules.index(module)
        near = [rows[name] for name in modules[place - 1 : place + 2]]
        printed = cell("googlenet", f"inception ({module})", "params").published
        changes = [
            sum(own != other for own, other in zip(rows[module], numbers, strict=True))
            for numbers in itertools.product(*(set(column) for column in zip(*near, strict=True)))
            if any(printed.prints([weights(*numbers)], way) for way in ("nearest", "down"))
        ]
        if changes:
            found[module] = (min(changes), changes.count(min(changes)))
    assert found == {"4a": (2, 2), "4d": (3, 1)}


def test_only_the_first_row_would_print_with_k_1000():
    fits = set()
    for row in paper_table("googlenet").rows:
        found = row.cells["params"]
        thousands = figure(found.published.text, {"K": 1000})
        weights_only = dataclasses.replace(found.reading, quantity="weights").count
        if any(
            thousands.prints([count], way)
            for count in (found.computed, weights_only)
            for way in ROUNDINGS
        ):
            fits.add(row.label)
    assert fits == {"convolution 7×7"}


def test_ops_add_up_to_the_1_5_billion_of_the_text():
    rows = [row for row in paper_table("googlenet").rows if not row.variant]
    assert sum(row.cells["ops"].published.value for row in rows) == 1_502_000_000
    assert sum(row.cells["ops"].computed for row in rows) == 1_498_677_248


def test_changing_two_kernel_counts_of_5a_and_keeping_its_output():
    """One pair of multiples of 16 prints both cells of the row and leaves the other columns as they are."""
    inputs, side, *widths = INCEPTIONS["5a"]
    params, ops = (cell("googlenet", "inception (5a)", key).published for key in ("params", "ops"))
    hits = set()
    for first, second in itertools.combinations(range(6), 2):
        for values in itertools.product(range(16, 513, 16), repeat=2):
            changed = _with(_with(widths, first, values[0]), second, values[1])
            ones, _, threes, _, fives, projection = changed
            if ones + threes + fives + projection != 832:
                continue
            held = weights(inputs, *changed)
            printed = any(params.prints([n], "nearest") for n in (held, held + sum(changed)))
            if printed and ops.prints([held * side * side], "nearest"):
                hits.add(tuple(changed))
    assert hits == {(256, 192, 320, 16, 128, 128)}


def _with(numbers, place, value):
    return (*numbers[:place], value, *numbers[place + 1 :])


def test_nothing_of_the_missing_size_can_be_left_out_of_resnet50():
    """Cells (2) of ResNet: what would make 3.8, 7.6 and 11.3 all rounded is 8 M to 20 M less, and no part is."""
    fifty, hundred, more = (
        cell("resnet", f"{depth}-layer", "flops").computed for depth in (50, 101, 152)
    )
    least, most = fifty - 3_850_000_000, min(hundred - 7_550_000_000, more - 11_250_000_000)
    assert (least // 10**6, most // 10**6) == (7, 20)
    parts = ("conv1", "fc", *(f"layer{stage}.0.downsample" for stage in (1, 2, 3, 4)))
    for part in parts:
        count = Reading(quantity="macs", network="resnet50-v1", scopes=(part,)).count
        assert not least < count <= most, part


# -- figures as papers print them ---------------------------------------------------------------------


def test_a_figure_is_read():
    found = figure("2.7K", UNITS)
    assert (found.digits, found.unit, found.places, found.suffix) == (
        Fraction(27, 10),
        1024,
        1,
        "K",
    )
    assert figure("133", {}, scale=1_000_000).value == 133_000_000
    assert (figure("112×112", {}).form, figure("×6", {}).form) == ("{}×{}", "×{}")
    assert figure("> 40M", UNITS).bound


@pytest.mark.parametrize("text", ["", "K", "1.K", "12 K", "×", "-3K", "112×56"])
def test_what_is_no_figure(text):
    with pytest.raises(UsageError, match=r"not a printed figure|does not define"):
        figure(text, {"K": 1024})


def test_an_unknown_unit():
    with pytest.raises(UsageError, match=r"'3B' has the unit 'B', which its table does not define"):
        figure("3B", {"K": 1024})


@pytest.mark.parametrize(("rounding", "expected"), [("nearest", 160), ("down", 159), ("up", 160)])
def test_rounding_of_a_half(rounding, expected):
    # 163,328 / 1024 = 159.5 exactly
    assert rounded(163_328, 1024, 0, rounding) == expected


def test_rounding_apart():
    # 12.5 + 12.5: 25 together, 24 cut apart.
    found = figure("24K", UNITS)
    assert found.prints([12_800, 12_800], "down", apart=True)
    assert not found.prints([12_800, 12_800], "down")


def test_a_bound_is_met_from_above():
    assert figure("> 40M", UNITS).prints([40_000_001], "nearest")
    assert not figure("> 40M", UNITS).prints([40_000_000], "nearest")


@pytest.mark.parametrize(
    ("printed", "count", "text"),
    [
        ("2.7K", 2_776, "2.71K"),
        ("159K", 163_328, "159.5K"),
        ("1M", 1_024_000, "1.02M"),
        ("112×112", 56, "56×56"),
        ("×6", 5, "×5"),
        ("121", 169, "169"),
    ],
)
def test_a_count_in_a_figures_form(printed, count, text):
    assert figure(printed, UNITS).of(count) == text


def test_decimal_rounds_halves_up():
    assert decimal(Fraction(1, 8), 2) == "0.13"
    assert decimal(Fraction(19_995, 10_000), 3) == "2.000"
    assert decimal(7, 0) == "7"


# -- readings ---------------------------------------------------------------------------------------


def test_kernels_written_out():
    kernels = ((3, 2, 5), (1, 5, 7))
    assert terms(Reading(quantity="weights", kernels=kernels)) == (90, 35)
    assert terms(Reading(quantity="parameters", kernels=kernels)) == (95, 42)
    assert terms(Reading(quantity="macs", held=10, image=(4, 3))) == (120,)
    assert terms(Reading(quantity="macs", kernels=kernels, image=(4, 3))) == (1080, 420)


def test_kernels_have_no_depth():
    with pytest.raises(UsageError, match="a list of kernels has no depth"):
        terms(Reading(quantity="depth", kernels=((1, 1, 1),)))


@pytest.mark.parametrize("field", ["scopes", "without"])
def test_a_scope_that_is_none(field):
    with pytest.raises(UsageError, match="vgg11 has no module 'conv9'"):
        terms(Reading(quantity="macs", network="vgg11", **{field: ("conv9",)}))


def test_parts_of_a_network_add_up_to_it():
    whole = Reading(quantity="macs", network="resnet34").count
    without = Reading(quantity="macs", network="resnet34", without=("layer?.0.downsample",)).count
    parts = Reading(quantity="macs", network="resnet34", scopes=("layer?.0.downsample",)).count
    assert whole == without + parts
    # Three projections: 64-128 on 28x28 and twice the same again.
    assert parts == 3 * 64 * 128 * 28 * 28


# -- a table's file ---------------------------------------------------------------------------------

SMALL = """
title = "T"
citation = "C"
convention = "M = 1,000,000"
units = { M = 1_000_000 }
network = "vgg11"
[columns.params]
title = "params"
quantity = "parameters"
[[rows]]
label = "A"
cells = { params = %s }
[[notes]]
key = "n"
text = "t"
"""


def small(text):
    return read("small", SMALL % text)


def test_a_wrong_figure_is_noticed():
    assert small('"133M"').rows[0].cells["params"].verdict == "agrees"
    table = small('{ printed = "134M", note = "n" }')
    found = table.rows[0].cells["params"]
    assert (found.verdict, found.note, table.count("open")) == ("open", 1, 1)
    assert found.ratio == Fraction(132_863_336, 134_000_000)


def test_an_explanation_that_explains_nothing_leaves_the_cell_open():
    found = small('{ printed = "134M", by = { rounding = "down" } }').rows[0].cells["params"]
    assert found.verdict == "open"
    assert small('{ printed = "132M", by = { rounding = "down" } }').count("explained") == 1


def test_a_cell_in_no_column():
    with pytest.raises(UsageError, match=r"row 'A' has a cell 'ops', and there is no such column"):
        read("small", (SMALL % '"133M"').replace("{ params", "{ ops"))


def test_a_note_that_is_not_there():
    with pytest.raises(UsageError, match="refers to a note 'x', and there is no such note"):
        small('{ printed = "133M", note = "x" }')


def test_a_table_that_is_not_there():
    with pytest.raises(UsageError, match="no published table is called 'googlnet'") as caught:
        papers.table("googlnet")
    assert "nearest: googlenet" in str(caught.value)
    with pytest.raises(UsageError, match="there are: densenet, googlenet, resnet, vgg"):
        papers.table("zzz")


def test_a_name_may_be_written_as_its_title():
    assert paper_table("GoogLeNet").name == "googlenet"


# -- on the screen, and as data ---------------------------------------------------------------------


def test_the_screen_of_googlenet():
    lines = paper.render(paper_table("googlenet"), width=100).splitlines()
    assert lines[0].startswith("GoogLeNet  Szegedy et al., Going Deeper with Convolutions")
    (row,) = (line for line in lines if line.startswith("inception (4c)"))
    assert re.sub(" +", " ", row) == "inception (4c) 463K 498.1K 1.076 ✗ (6) 100M 99.9M 0.999 ="
    assert lines[-1] == "13 of 24 cells agree to the printed digit, 4 are explained, 7 are open"


@pytest.mark.parametrize("name", papers.names())
@pytest.mark.parametrize("width", [40, 80, 100, 200, None])
def test_no_figure_is_cut_at_any_width(name, width):
    table = paper_table(name)
    text = paper.render(table, width=width)
    for row in table.rows:
        for column in table.columns:
            found = row.cells.get(column.key)
            if found is not None and not column.compact:
                assert found.computed_text in text
    assert "…" not in text
    if width is not None and width >= 80:
        assert max(map(len, text.splitlines())) <= width


def test_a_variant_is_shown_and_not_counted():
    text = paper.render(paper_table("resnet"), width=120)
    assert re.search(r"^  as v1\.5 +4\.09G +✗$", text, re.MULTILINE)
    assert "as v1.5" not in {label for label, _ in verdicts("resnet")}


def test_a_compact_cell_that_differs_shows_what_is_computed():
    file = (SMALL % '"×6"').replace(
        'quantity = "parameters"', 'quantity = "children"\ncompact = true'
    )
    file = file.replace('network = "vgg11"', 'network = "vgg11"\nscopes = ["classifier"]')
    # classifier: linear, ReLU, dropout, twice, and linear
    assert "×6 ×7 ✗" in paper.render(read("small", file))


def test_a_bound_has_no_ratio():
    table = small('"> 100M"')
    assert table.rows[0].cells["params"].ratio is None
    assert re.search(r"> 100M +132\.9M +- +=", paper.render(table))


def test_colour_adds_codes_and_nothing_else():
    table = paper_table("vgg")
    colored = paper.render(table, width=100, color=True)
    assert "\x1b[" in colored
    plain = re.sub(r"\x1b\[[\d;]*m", "", colored)
    assert [line.rstrip() for line in plain.splitlines()] == paper.render(
        table, width=100
    ).splitlines()


def test_as_data():
    data = json.loads(json.dumps(paper.to_dict(paper_table("googlenet"))))
    assert data["summary"] == {"cells": 24, "agree": 13, "explained": 4, "open": 7}
    first = data["rows"][0]["cells"]["params"]
    assert (first["published"], first["computed"], first["unit"]) == ("2.7K", 2776, "parameters")
    assert first["published_value"] == pytest.approx(2.7 * 1024)
    assert all(claim["holds"] for note in data["notes"] for claim in note["claims"])


def test_a_table_needs_neither_frameworks_nor_what_the_screen_needs():
    code = (
        "import sys, weighbridge.papers as p; p.table('vgg');"
        "print([m for m in ('torch', 'torchvision', 'sympy', 'rich', 'click') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
