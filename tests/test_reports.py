"""Reports: columns add up, text is escaped, what is unknown is shown as such, room is respected."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import weighbridge
from weighbridge import layers as net_layers
from weighbridge.analyses.comparison import (
    Compared,
    Part,
    deeper_is_lighter,
    larger_is_cheaper,
    larger_network_is_cheaper,
    weight_layers,
)
from weighbridge.analyses.weighing import Weighing
from weighbridge.builder import Builder
from weighbridge.errors import UsageError
from weighbridge.frontends import zoo
from weighbridge.program import Program
from weighbridge.reports import csv as csv_report
from weighbridge.reports import dataframe, html, latex, markdown
from weighbridge.reports.layers import fitting_depth, layer_sheet
from weighbridge.reports.operators import operator_sheet
from weighbridge.reports.sheet import (
    Column,
    Figure,
    Partial,
    Row,
    Share,
    Sheet,
    shares,
    summed,
    text,
)
from weighbridge.reports.table import bar, render, written
from weighbridge.workload import Workload


def residual(workload: Workload, blocks: int = 2) -> Program:
    """A stem, residual blocks whose sum is the block's own work, and a classifier: 3 x 8 x 8 images."""
    net = Builder(workload)
    x = net.input((workload.batch, 3, 8, 8))
    with net.module("stem", "Sequential"):
        x = net_layers.convolution(net, x, "0", 4, 3, padding=1, bias=False)
        x = net_layers.activation(net, x, "1")
    with net.module("body", "Sequential"):
        for index in range(blocks):
            with net.module(str(index), "Block"):
                y = net_layers.convolution(net, x, "conv", 4, 3, padding=1)
                x = net_layers.add(net, x, y)
    x = net_layers.flatten(net, x)
    x = net_layers.linear(net, x, "fc", 10)
    return net.build(network="residual", source="test", frontend="builder", outputs=(x,))


def with_unknown(program: Program, kind: str = "relu") -> Program:
    """The same program, in which no rule is known for one kind of operator."""
    ops = tuple(replace(op, kind="mystery") if op.kind == kind else op for op in program.ops)
    return replace(program, ops=ops)


FIGURES = (
    "params",
    "operations",
    "backward",
    "update",
    "activation",
    "read",
    "share",
    "share-params",
)


def printed_columns(table: str, headings: list[str]) -> list[list[str]]:
    """The cells below each right-aligned heading, by where the headings end; the last is the total's."""
    head, *rows = table.splitlines()
    ends, position = [], 0
    for heading in headings:
        position = head.index(heading, position) + len(heading)
        ends.append(position)
    padded = [row.ljust(position) for row in rows]
    first = [re.search(r"[\d,]*$", row[: ends[0]])[0] for row in padded]  # names stand before it
    rest = [[row[start:end].strip() for row in padded] for start, end in pairwise(ends)]
    return [first, *rest]


def number(cell: str) -> int:
    return int(cell.replace(",", "")) if cell else 0


# -- columns add up ------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["macs", "lecture", "exact", "paper"])
@pytest.mark.parametrize("depth", [0, 1, 2, None])
@pytest.mark.parametrize("train", [None, "adam"])
@pytest.mark.parametrize("network", ["lenet5", "googlenet", "resnet18", "mobilenet_v2"])
def test_printed_columns_add_up_to_printed_totals(network, train, depth, convention):
    report = weighbridge.weigh(network, batch=2, train=train, convention=convention)
    check_columns_add_up(report, depth)


@pytest.mark.torch
@pytest.mark.parametrize("depth", [0, 1, None])
@pytest.mark.parametrize("train", [None, "sgd"])
def test_columns_of_a_traced_network_add_up(train, depth):
    torch = pytest.importorskip("torch")

    class Tied(torch.nn.Module):
        """Work and a parameter of its own, a module used twice, a weight held twice, an idle module."""

        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(50, 16)
            self.block = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.GELU())
            self.scale = torch.nn.Parameter(torch.ones(16))
            self.idle = torch.nn.Linear(3, 3)
            self.head = torch.nn.Linear(16, 50, bias=False)
            self.head.weight = self.table.weight

        def forward(self, tokens):
            x = self.table(tokens)
            x = self.block(self.block(x)) * self.scale
            return self.head(x @ x.transpose(1, 2) @ x)

    report = weighbridge.weigh(Tied(), "tokens=7:int64", batch=2, train=train, convention="exact")
    check_columns_add_up(report, depth)
    # 50 * 16 once, (16 + 1) * 16, 16, (3 + 1) * 3
    assert report.parameters.total == 800 + 272 + 16 + 12
    # two Linears on 7 tokens, two products of activations, the head; batch 2
    assert report.compute.forward.macs == 2 * (2 * 7 * 256 + 2 * 7 * 7 * 16 + 7 * 16 * 50)


def check_columns_add_up(report: weighbridge.Report, depth: int | None) -> None:
    sheet = layer_sheet(report.weighing, depth=depth, columns=FIGURES)
    headings = [column.heading.replace(" (%)", "") for column in sheet.columns]
    columns = printed_columns(written(render(sheet), color=False), headings)
    for heading, cells in zip(headings[:6], columns[:6], strict=True):
        *parts, total = map(number, cells)
        assert sum(parts) == total, heading
    for heading, cells in zip(headings[6:], columns[6:], strict=True):
        # in tenths of a percent; '<0.1' is a nought that is not nothing
        tenths = [
            0 if "<" in c else round(float(re.sub(r"[^\d.]", "", c) or 0) * 10) for c in cells
        ]
        assert sum(tenths[:-1]) == tenths[-1] == 1000, heading
    assert number(columns[0][-1]) == report.parameters.total
    assert number(columns[1][-1]) == report.weighing.total("forward")
    assert number(columns[2][-1]) == report.weighing.total("backward")


def test_every_form_of_the_table_holds_the_same_total():
    # VGG-16: 138,357,544 parameters (Simonyan and Zisserman 2015, 138 M) and 15,470,264,320 MACs
    # (torchvision's meta['_ops'] 15.47 G).
    report = weighbridge.weigh("vgg16")
    for form in (report.to_markdown(), str(report), report._repr_html_()):
        assert "138,357,544" in form
        assert "15,470,264,320" in form
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert rows[-1]["layer"] == "total"
    assert rows[-1]["params"] == "138357544"
    assert sum(int(row["MACs"] or 0) for row in rows[:-1]) == int(rows[-1]["MACs"]) == 15470264320
    assert r"138,357,544 & 15,470,264,320 & 100.0 \% \\" in report.to_latex()


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40))
def test_shares_add_up_and_none_is_off_by_a_tenth(values):
    found = shares(values)
    whole = sum(values)
    assert sum(share.tenths for share in found) == (1000 if whole else 0)
    for share, value in zip(found, values, strict=True):
        assert abs(share.tenths * whole - value * 1000) < max(whole, 1)


def test_shares_are_rounded_by_largest_remainder():
    # 1/3 each: 333.3 tenths, and one of the three gets the tenth that is left.
    assert [share.text for share in shares([1, 1, 1])] == ["33.4 %", "33.3 %", "33.3 %"]
    # 1 of 10,000 is 0.1 tenths, rounded down: there, but nothing that a digit shows.
    assert [share.text for share in shares([1, 9999])] == ["<0.1 %", "100.0 %"]
    assert [share.text for share in shares([0, 0])] == ["0.0 %", "0.0 %"]


def test_a_total_of_partly_known_figures_is_partly_known():
    assert text(summed([1, 2, None])) == "3"
    assert text(summed([1, Partial(known=2)])) == "3 + ?"
    assert text(summed([0, Partial(known=0)])) == "?"
    assert summed(["a", "b"]) is None
    assert summed([]) is None


# -- the table -----------------------------------------------------------------------------------


def test_a_module_has_its_own_row_for_what_it_does_itself():
    # Each block adds two tensors of 4 x 8 x 8: 256 additions that belong to no layer of it.
    weighing = Weighing(program=residual(Workload()), convention="exact")
    rows = {row.path: row for row in layer_sheet(weighing, columns=("operations", "params")).rows}
    assert rows["body.0"].cells == (256, None)
    # conv: 4 x 4 x 3 x 3 weights and 4 biases; 2 operations a weight and place: 2 * 144 * 64 = 18,432.
    assert rows["body.0.conv"].cells == (18432, 148)
    assert rows["body"].cells == (None, None)


def test_a_folded_row_holds_all_that_is_below_it():
    weighing = Weighing(program=residual(Workload(), blocks=3), convention="exact")
    sheet = layer_sheet(weighing, depth=1, columns=("kind", "operations", "params"))
    rows = {row.path: row.cells for row in sheet.rows}
    assert rows["body"] == ("3 x Block", 3 * (256 + 18432), 3 * 148)
    assert [row.path for row in sheet.rows] == ["stem", "body", "fc"]


def test_the_whole_network_folds_into_one_row():
    weighing = Weighing(program=residual(Workload()))
    (row,) = layer_sheet(weighing, depth=0, columns=("params",)).rows
    # stem 3*4*9, two blocks of 148, fc (256 + 1) * 10
    assert (row.name, row.cells) == ("residual", (108 + 296 + 2570,))


@pytest.mark.parametrize(
    ("network", "merge", "depth"),
    # rows at depth 1, 2, ...: VGG-16 has 3 + 31 + 7 in all; ResNet-18 10 and 8 blocks, more inside;
    # GoogLeNet 9 modules of at least 6 convolutions each; ResNet-152 50 blocks, of which 8 kinds.
    [
        ("vgg16", False, None), ("resnet18", False, 2), ("googlenet", False, 1),
        ("resnet152", False, 1), ("resnet152", True, 2),
    ],
)  # fmt: skip
def test_the_table_unfolds_as_far_as_a_screen_takes(network, merge, depth):
    assert fitting_depth(weighbridge.weigh(network).weighing, merge=merge) == depth


def test_copies_of_a_block_share_a_row_unless_each_is_asked_for():
    report = weighbridge.weigh("resnet18")
    folded = [row.path for row in report.sheet(depth=2, each=False).rows]
    assert "layer1.0-1" in folded
    assert "layer1.1" not in folded
    assert "layer1.1" in [row.path for row in report.sheet(depth=2).rows]
    assert "2 x BasicBlock" in report.table(depth=2)
    assert "2 x BasicBlock" not in report.table(depth=2, each=True)
    assert "layer1.1," in report.to_csv(depth=2)  # files for programs have them all


def test_columns_that_do_not_fit_leave_by_rank_and_are_named():
    report = weighbridge.weigh("resnet18")
    wide = report.table().splitlines()
    assert {"kind", "output", "params", "MACs", "share"} <= set(wide[0].split())
    for width in (30, 50, 60, 70):
        lines = report.table(width=width).splitlines()
        assert {"params", "MACs"} <= set(lines[0].split())
        assert "11,689,512" in lines[-2]
        assert max(map(len, lines[:-1])) <= max(width, 36)
        assert lines[-1].startswith("left out for want of room: share")
    assert "kind" not in report.table(width=50).splitlines()[0]


def test_asking_for_a_column_gives_it_in_the_order_asked():
    report = weighbridge.weigh("lenet5")
    head = report.table(columns=("share-params", "kernel", "layer", "flops")).splitlines()[0]
    assert re.split(r"\s{2,}", head) == ["layer", "params share", "kernel", "FLOPs"]


def test_a_table_of_names_alone():
    assert weighbridge.weigh("lenet5").table(columns=("layer",)).splitlines()[0] == "layer"


def test_the_kernel_column_shows_windows():
    rows = layer_sheet(weighbridge.weigh("vgg16").weighing, columns=("kernel",)).rows
    shown = {row.path: row.cells[0] for row in rows}
    assert (shown["features.0"], shown["features.4"], shown["features.1"]) == ("3,3", "2,2", "")


def test_formulas_stand_below_their_layer_and_fit():
    report = weighbridge.weigh("(Input)(3,224,224)->(Conv)6c5w1s0p", convention="lecture")
    # L11 times a batch of B; L12: 2*3*5*5*220*220*6 = 43,560,000
    line = "    2·B·c·k·w·h·(M−w+1)·(N−h+1) = 43,560,000   B=1, c=3, M=224, N=224, k=6, w=5, h=5"
    assert report.table(formulas=True).splitlines()[2] == line
    assert all(len(row) <= 60 for row in report.table(formulas=True, width=60).splitlines())


@pytest.mark.parametrize("convention", ["macs", "lecture", "exact", "paper"])
@pytest.mark.parametrize(("network", "depth"), [("lenet5", None), ("resnet18", 1), ("gpt2", None)])
def test_formulas_come_to_the_figure_of_their_row(network, depth, convention):
    report = weighbridge.weigh(network, batch=2, convention=convention)
    sheet = layer_sheet(report.weighing, depth=depth, columns=("operations",), formulas=True)
    for row in sheet.rows:
        written_out = 0
        for note in row.notes:
            times = re.match(r"(\d+) x \(", note)
            value = re.search(r"(?: = |more: )([\d,]+)", note)
            written_out += (int(times[1]) if times else 1) * number(value[1])
        assert written_out == (row.cells[0] or 0), row.path


def test_formulas_of_equal_operators_are_written_once():
    weighing = Weighing(program=residual(Workload(), blocks=5))
    rows = {row.path: row for row in layer_sheet(weighing, depth=1, formulas=True).rows}
    # 4 * 4 * 3 * 3 * 8 * 8 = 9,216 MACs in each of 5 blocks
    (line,) = rows["body"].notes
    assert line.startswith("5 x (B·c·k·w·h·(M−w+3)·(N−h+3) = 9,216 ")


def test_formulas_of_many_operators_end_in_a_sum():
    report = weighbridge.weigh("lenet5")
    (row,) = layer_sheet(report.weighing, depth=0, formulas=True).rows
    assert len(row.notes) == 4
    assert re.match(r"and 2 operators more: [\d,]+ MACs", row.notes[-1])


def test_a_bar_is_as_long_as_its_share():
    assert [bar(tenths) for tenths in (0, 1, 250, 500, 1000)] == [
        "    ",
        "▏   ",
        "█   ",
        "██  ",
        "████",
    ]


def test_colour_only_where_it_is_asked_for():
    report = weighbridge.weigh("lenet5")
    assert "\x1b" not in report.screen()
    painted = report.screen(color=True)
    assert "\x1b[1m" in painted
    stripped = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", painted).splitlines()]
    assert stripped == report.screen().splitlines()


# -- the first screen ----------------------------------------------------------------------------


def test_the_coverage_line_says_what_the_figures_are_of():
    # ResNet-18 at 224 x 224: 1,814,073,344 MACs (PyTorch's own test of its flop counter), 2 FLOPs each.
    last = str(weighbridge.weigh("resnet18")).splitlines()[-1]
    assert re.fullmatch(
        r"1\.81 GMACs = 3\.63 GFLOPs \(1 MAC = 2 FLOPs\) \| (\d+) of \1 operators counted \| "
        r"batch 1, input 1 x 3 x 224 x 224 float32",
        last,
    )


def test_a_batch_shows_what_one_sample_takes():
    screen = str(weighbridge.weigh("resnet18", batch=10))
    # 10 x 1,814,073,344
    assert "18.1 GMACs = 36.3 GFLOPs (1 MAC = 2 FLOPs) · 1.81 GMACs a sample" in screen


def test_broken_lines_keep_figures_with_their_units():
    screen = weighbridge.weigh("resnet18", batch=10).screen(width=60)
    assert max(map(len, screen.splitlines())) <= 60
    flat = " ".join(screen.split())
    for whole in (
        "10 x 3 x 224 x 224 float32",
        "18.1 GMACs",
        "36.3 GFLOPs",
        "11,689,512 = 44.6 MiB",
    ):
        assert whole in flat
    assert not re.search(r"(\d|x)$", "\n".join(screen.splitlines()[:8]), re.MULTILINE)


def test_training_shows_backward_and_update():
    screen = str(weighbridge.weigh("100 -> (fc)10", batch=4, train="sgd"))
    # forward 4*100*10; backward only the weights' gradient, the same again; sgd: p - rate * g for 1010.
    assert (
        "  forward       4.00 kMACs = 8.00 kFLOPs (1 MAC = 2 FLOPs) · 1.00 kMACs a sample" in screen
    )
    assert "  backward      4.00 kMACs = 8.00 kFLOPs (1 MAC = 2 FLOPs)\n" in screen
    assert re.search(r"update +1\.01 k multiplications, 1\.01 k additions", screen)


def test_frozen_shared_and_buffers_are_named():
    program = residual(Workload())
    first, *rest = program.parameters
    frozen = replace(first, trainable=False)
    tied = replace(program, parameters=(frozen, *rest), aliases={"again": rest[0].name or ""})
    # the stem's 108 weights of 2,974 frozen; the first block's 144 weights held twice
    line = next(line for line in str(weighbridge.weigh(tied)).splitlines() if "parameters" in line)
    assert (
        "2,974 = 11.6 KiB float32 · 2,866 trainable, 108 frozen · 144 shared, counted once" in line
    )


def test_what_has_no_rule_is_named_and_never_zero():
    report = weighbridge.weigh(with_unknown(residual(Workload())))
    # one relu on 4 x 8 x 8 float32: 1,024 bytes in, 1,024 out
    assert "not counted: mystery, 1 time, 2.00 KiB of operands: it has no rule" in str(report)
    assert "operators without a rule move" in str(report)
    row = next(line for line in report.table().splitlines() if line.startswith("  1 "))
    assert re.search(r" 0 +\? +\?$", row)
    total = next(line for line in report.table().splitlines() if line.startswith("total"))
    assert " + ? " in total
    by_operator = written(render(operator_sheet(report.weighing)), color=False)
    assert re.search(r"^mystery +no rule +1 +\? ", by_operator, re.MULTILINE)


def test_a_network_that_stopped_half_way_never_looks_whole():
    half = replace(residual(Workload()), complete=False, warnings=("stopped at body.1",))
    screen = str(weighbridge.weigh(half))
    assert "the network stopped half-way: totals are of what ran, and lower bounds" in screen
    assert "warning: stopped at body.1" in screen


def test_numbers_beyond_every_prefix_stay_exact():
    # 10^6 samples, 10^12 inputs, 10^12 outputs: 10^30 MACs.
    screen = str(weighbridge.weigh("1000000000000 -> (fc)1000000000000", batch=10**6))
    assert f"{10**30:,}" in screen
    assert "1.00 QMACs = 2.00 QFLOPs" in screen


def test_operators_add_up_to_the_step():
    report = weighbridge.weigh("resnet18", train="sgd")
    sheet = operator_sheet(report.weighing)
    forward_and_backward = report.weighing.total("forward") + report.weighing.total("backward")
    assert sheet.totals is not None
    assert sheet.totals[2] == forward_and_backward
    assert sheet.totals[1] == len(report.program.ops)


# -- the tree and space --------------------------------------------------------------------------


def test_the_tree_reads_as_repr_and_weighs_whole_modules():
    tree = weighbridge.weigh(residual(Workload())).tree().splitlines()
    body = next(line for line in tree if line.startswith("  (body): Sequential("))
    # two blocks: 148 parameters and 9,216 MACs each
    assert body.endswith("296 params, 18,432 MACs")
    conv = next(
        line for line in tree if line.startswith("      (conv): Conv2d(4, 4, kernel_size=(3, 3)")
    )
    assert conv.endswith("148 params, 9,216 MACs")
    top = next(line for line in tree if line.startswith("residual("))
    # and 3*4*9*64 for the stem, 256*10 for the classifier
    assert top.endswith("2,974 params, 27,904 MACs")
    assert sum(line.strip() == ")" for line in tree) == 5  # network, stem, body, two blocks


def test_space_shows_every_precision_accounting_and_optimizer():
    report = weighbridge.weigh("100 -> (fc)10", batch=2, dataset=7)
    screen = report.space_screen()
    # 1,010 parameters: 8 bytes each in float64, half a byte in int4
    assert re.search(r"^float64 +8,080 +7\.89 KiB", screen, re.MULTILINE)
    assert re.search(r"^int4 +505 +505 B", screen, re.MULTILINE)
    # L5 at B = 2: W + B(W + 2A) and 2W + 2BA with W = 4,040 bytes, A = 4 * (100 + 10)
    assert re.search(rf"^gradients per sample +{4040 + 2 * (4040 + 880):,} ", screen, re.MULTILINE)
    assert re.search(rf"^gradients summed +{2 * 4040 + 2 * 880:,} ", screen, re.MULTILINE)
    # Adam keeps two numbers a parameter
    assert re.search(r"^adam +8,080 ", screen, re.MULTILINE)
    # L8 on 7 samples: 7 updates one by one, 4 in twos, 1 of all
    for rule, at_once, updates in (("sample", 1, 7), ("batch", 2, 4), ("epoch", 7, 1)):
        assert re.search(rf"^{rule} +{at_once} +{updates} ", screen, re.MULTILINE)


def test_learning_rules_need_a_data_set_of_a_batch():
    with pytest.raises(UsageError, match="a data set of 3 samples has no batch of 8"):
        weighbridge.weigh("100 -> (fc)10", batch=8, dataset=3).space_screen()
    assert "learning rules" not in weighbridge.weigh("100 -> (fc)10").space_screen()


# -- files ---------------------------------------------------------------------------------------

NASTY = r"a_b & 50% $x$ #1 {y} ~ ^ \ | * <script>alert('x')</script> `c`"

NASTY_SHEET = Sheet(
    subject="layer",
    columns=(Column(key="kind", title="kind", align="left"), Column(key="n", title="n")),
    rows=(Row(path=NASTY, name=NASTY, cells=(NASTY, 1), notes=("2·c ≤ <b>",)),),
    totals=(None, 1),
)


def test_markdown_takes_nothing_for_markup():
    table = markdown.render(NASTY_SHEET, title=NASTY, footing=(NASTY,))
    row = next(line for line in table.splitlines() if line.startswith(r"| a\_b"))
    assert r"\|" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 5  # the bars of four columns
    assert not re.search(r"(?<!\\)<(?!br>)", table)


def test_latex_takes_nothing_for_markup():
    table = latex.render(NASTY_SHEET, title=NASTY)
    row = next(line for line in table.splitlines() if line.startswith(r"a\_b"))
    assert row.startswith(
        r"a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{} \textbar{} *"
    )
    assert len(re.findall(r"(?<!\\)&", row)) == 3
    assert r"\begin{tabular}{llrl}" in table


def test_html_escapes_and_runs_nothing():
    for page in (html.render(NASTY_SHEET, title=NASTY), html.page(NASTY_SHEET, title=NASTY)):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "http" not in page


def test_html_shows_shares_as_bars():
    report = weighbridge.weigh("100 -> (fc)10")
    page = report.to_html()
    assert "#8db6d955 100.0%" in page
    assert "<style>" in page


def test_csv_names_layers_by_path_and_units_in_headings():
    report = weighbridge.weigh("resnet18", batch=2)
    rows = list(csv.reader(io.StringIO(report.to_csv(columns=("activation", "share", "params")))))
    assert rows[0] == ["layer", "activation (bytes)", "share (%)", "params"]
    assert "layer1.0.conv1" in [row[0] for row in rows]


def test_csv_carries_formulas_in_a_column_of_their_own():
    table = weighbridge.weigh("100 -> (fc)10").to_csv(columns=("macs", "formula"))
    first, second, _ = csv.reader(io.StringIO(table))
    assert first == ["layer", "MACs", "formula"]
    assert second == ["fc1", "1000", "B·n·k = 1,000   B=1, n=100, k=10"]


def test_a_share_sums_in_totals():
    assert summed([Share(tenths=400, part=4), None, Share(tenths=600, part=6)]) == Share(
        tenths=1000, part=10
    )


# -- comparison ----------------------------------------------------------------------------------


def compared(network: str, depth: int, params: int, macs: int) -> Compared:
    return Compared(
        network=network, source="", batch=1, depth=depth, params=params, macs=macs,
        activation_bytes=0, weights_bytes=0, peak_bytes=0,
    )  # fmt: skip


def part(scope: str, kind: str, params: int, macs: int) -> Part:
    return Part(network="n", scope=scope, kind=kind, params=params, macs=macs)


def test_depth_is_the_longest_path_of_weight_layers():
    # stem, two blocks of one convolution each, classifier; the sums have no weights
    assert weight_layers(Weighing(program=residual(Workload()))) == 4


@pytest.mark.parametrize(
    ("network", "depth"),
    # from the papers' titles and tables: 16 weight layers; 50 with the projections beside the path;
    # 22 layers deep; 121. GPT-2: four matrices in each of 12 blocks, which also multiply activations
    # by each other, and the tied head.
    [
        ("vgg16", 16),
        ("resnet50", 50),
        ("googlenet", 22),
        ("densenet121", 121),
        ("gpt2", 4 * 12 + 1),
    ],
)
def test_depth_is_what_the_papers_call_it(network, depth):
    assert weight_layers(weighbridge.weigh(network).weighing) == depth
    assert weight_layers(weighbridge.weigh(network, train="sgd").weighing) == depth
    assert zoo.describe(network).depth == depth


def test_deeper_need_not_be_heavier():
    # b is deeper with fewer of both; c deeper still, but only its parameters are fewer
    a, b, c = compared("a", 5, 100, 100), compared("b", 9, 50, 50), compared("c", 20, 90, 200)
    found = deeper_is_lighter((a, b, c))
    assert found is not None
    assert (found.deeper.network, found.shallower.network) == ("b", "a")
    assert deeper_is_lighter((a, compared("d", 9, 200, 200))) is None


def test_more_parameters_need_not_mean_more_operations():
    a, b = compared("a", 1, 100, 100), compared("b", 1, 200, 50)
    found = larger_network_is_cheaper((a, b))
    assert found is not None
    assert (found.larger.network, found.smaller.network) == ("b", "a")
    assert larger_network_is_cheaper((a, compared("c", 1, 200, 200))) is None


def test_modules_are_compared_with_their_neighbours_of_a_kind():
    parts = (
        part("a", "Block", 10, 100), part("b", "Block", 11, 50), part("c", "Block", 90, 40),
        part("fc", "Linear", 12, 1),
    )  # fmt: skip
    found = larger_is_cheaper(parts)
    assert found is not None
    assert isinstance(found.larger, Part)
    assert isinstance(found.smaller, Part)
    # a -> b falls by 2, b -> c by 1.25; the Linear is of another kind
    assert (found.smaller.scope, found.larger.scope) == ("a", "b")
    assert larger_is_cheaper(parts[-1:]) is None


def test_googlenet_shows_the_lecture_its_pair():
    # L19: inception 3b (380K, 304M) against 4b (437K, 88M)
    report = weighbridge.compare(["googlenet"])
    (pair,) = report.comparison.larger_parts
    assert isinstance(pair.larger, Part)
    assert isinstance(pair.smaller, Part)
    assert (pair.smaller.scope, pair.larger.scope) == ("inception3b", "inception4b")
    assert "inception4b of googlenet has 449 k parameters and 87.9 MMACs" in report.screen(
        by="module"
    )


def test_the_four_networks_show_the_take_home_message():
    # L20 on the lecture's four networks
    screen = str(weighbridge.compare(["vgg16", "googlenet", "resnet50", "densenet121"]))
    assert (
        "Deeper need not mean heavier: densenet121 is 121 weight layers deep and vgg16 16" in screen
    )
    assert "7.98 M parameters against 138 M and 2.83 GMACs against 15.5 GMACs" in screen
    # 6,998,552 / 138,357,544
    assert re.search(r"^googlenet .* 0\.0506 x ", screen, re.MULTILINE)


def test_a_comparison_that_shows_nothing_says_so():
    screen = str(weighbridge.compare(["100 -> (fc)10", "100 -> (fc)20"]))
    assert "None of these is deeper than another and has fewer parameters or operations." in screen
    assert "the one with more parameters always has more operations" in screen


def test_deeper_with_fewer_parameters_but_more_operations_says_but():
    # resnet50 has 25.6 M parameters and 4.09 GMACs, alexnet (torchvision's) 61.1 M and 0.71 G
    screen = str(weighbridge.compare(["alexnet", "resnet50"]))
    assert re.search(r"yet it has 25\.6 M parameters against 61\.1 M \(but 4\.09 GMACs", screen)


def test_figures_are_unscaled_for_programs_and_told_to_people():
    sheet = Sheet(
        subject="run",
        columns=(Column(key="epoch", title="epoch"),),
        rows=(Row(path="a", name="a", cells=(Figure(value=8640.0, text="2.40 h"),)),),
    )
    assert csv_report.render(sheet) == "run,epoch\na,8640.0\n"
    assert "2.40 h" in markdown.render(sheet)
    assert "2.40 h" in written(render(sheet), color=False)
    pytest.importorskip("pandas")
    assert dataframe.render(sheet).loc["a", "epoch"] == 8640.0
