"""The command: what it prints, where, with which exit code, and what it never loads."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge.cli import main
from weighbridge.errors import UsageError, nearest
from weighbridge.ops.optimizers import SYNONYMS, UPDATES
from weighbridge.reports import listing

LINE = "(Input)(3,224,224)->(Conv)6c5w1s0p"
COMMAND = (sys.executable, "-c", "from weighbridge.cli import main; main()")


def weigh(*arguments: str, **environment: str):
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": None, **environment})


def complaint(*arguments: str, code: int = 2) -> str:
    """What a command that fails says: one message on stderr, nothing on stdout, no traceback."""
    result = weigh(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("weigh: ")
    assert "Traceback" not in result.stderr
    return result.stderr


PLAIN = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}


def process(*arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    settings = {"env": PLAIN, "text": True, **settings}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=120, **settings)


# -- what it prints ------------------------------------------------------------------------------


def test_weighing_prints_what_the_report_prints():
    result = weigh("vgg16", "--batch", "2", "--train", "adam")
    assert result.exit_code == 0
    assert result.stdout == f"{weighbridge.weigh('vgg16', batch=2, train='adam')}\n"
    assert result.stderr == ""


def test_the_lectures_examples_print_the_lectures_figures():
    # L10 and L12
    for network, operations in (
        ("100 -> (fc)10", "2,000"),
        ("4096 -> (fc)1000", "8,192,000"),
        (LINE, "43,560,000"),
        ("(Input)(3,224,224)->(Conv)16c3w1s0p", "42,581,376"),
    ):
        result = weigh(network, "--convention", "lecture")
        assert f"{operations} operations" in result.stdout


def test_every_setting_reaches_the_function():
    result = weigh(
        "vgg11", "--input", "3,64,64", "--batch", "4", "--train", "sgd", "--momentum", "0.9", "--nesterov",
        "--weight-decay", "0.01", "--rule", "epoch", "--dataset", "64", "--dtype", "bfloat16",
        "--input-gradient", "--loss", "mean", "--convention", "exact", "--strict", "--json", "--accumulate", "2",
        "--train-only", "classifier.6", "--train-only", "features.0", "--precision", "bf16", "--optimizer-implementation", "single",
    )  # fmt: skip
    report = weighbridge.weigh(
        "vgg11", (3, 64, 64), batch=4, train="sgd", momentum=0.9, nesterov=True, weight_decay=0.01,
        learning_rule="epoch", dataset=64, dtype="bfloat16", input_gradient=True, loss="mean",
        convention="exact", strict=True, accumulate=2, trained=("classifier.6", "features.0"), precision="bf16",
        implementation="single",
    )  # fmt: skip
    assert json.loads(result.stdout) == report.to_dict()


def test_views_are_those_of_the_report():
    report = weighbridge.weigh("resnet18", batch=2, dataset=10)
    common = ("resnet18", "--batch", "2", "--dataset", "10")
    assert weigh(*common, "--tree", "--depth", "2").stdout == report.tree(depth=2) + "\n"
    assert weigh(*common, "--space").stdout == report.space_screen() + "\n"
    assert weigh(*common, "--by", "operator").stdout == report.screen(by="operator") + "\n"
    assert weigh(*common, "--width", "50").stdout == report.screen(width=50) + "\n"
    assert (
        weigh(*common, "--columns", "kind, macs", "--formulas", "--depth", "1").stdout
        == report.screen(columns=("kind", "macs"), formulas=True, depth=1) + "\n"
    )


def test_help_has_examples_and_says_that_files_are_run():
    for arguments in ((), ("--help",), ("-h",), ("vgg16", "--help")):
        result = weigh(*arguments)
        assert result.exit_code == 0
        assert "--train OPTIMIZER" in result.stdout
        assert "weigh mynet.py:Net --input 3,224,224" in result.stdout
        assert "RUNS THE FILE" in result.stdout
        for section in ("How it is used:", "What is shown:", "Where it goes:"):
            assert f"\n{section}\n" in result.stdout
    assert "Commands:\n  calibrate " in weigh("--help").stdout
    for verb in ("compare", "paper", "ops", "networks", "completion"):
        assert weigh(verb, "--help").exit_code == 0


def test_help_names_every_optimizer():
    text = " ".join(weigh("--help").stdout.split())
    for name in (*UPDATES, *SYNONYMS):
        assert re.search(rf"\b{name}\b", text), name


def test_choices_are_those_of_the_functions():
    from weighbridge.analyses.compute import CONVENTIONS
    from weighbridge.reports.files import SUFFIXES
    from weighbridge.settings import LOSSES, Settings
    from weighbridge.workload import PRECISIONS, RULES

    options = {option.name: option for option in main.commands["model"].params}
    assert tuple(options["convention"].type.choices) == tuple(CONVENTIONS)
    assert tuple(options["learning_rule"].type.choices) == RULES
    assert tuple(options["precision"].type.choices) == PRECISIONS
    assert {option.name for option in options.values()} >= set(Settings.__annotations__)
    assert all(loss in options["loss"].help for loss in LOSSES)
    assert all(suffix in options["output"].help for suffix in SUFFIXES)


def test_the_version_is_the_packages():
    assert weigh("--version").stdout == f"weigh {weighbridge.__version__}\n"


def test_the_long_form_reaches_networks_that_are_called_like_verbs():
    assert weigh("model", "lenet5").stdout == weigh("lenet5").stdout
    assert "no network is called 'ops'" in complaint("model", "ops")


def test_options_may_come_first():
    assert weigh("--batch", "2", "lenet5").stdout == weigh("lenet5", "--batch", "2").stdout


def test_comparing():
    networks = ["vgg16", "googlenet", "resnet50", "densenet121"]
    assert weigh("compare", *networks).stdout == f"{weighbridge.compare(networks)}\n"
    by_module = weigh("compare", "googlenet", "--by", "module", "--json").stdout
    assert {part["scope"] for part in json.loads(by_module)["modules"]} >= {"inception3b", "fc"}
    assert "inception4b of googlenet" in weigh("compare", "googlenet", "--by", "module").stdout


def test_papers():
    assert weigh("paper").stdout.split() == ["densenet", "googlenet", "resnet", "vgg"]
    assert weigh("paper", "vgg").stdout == f"{weighbridge.paper('vgg')}\n"
    assert json.loads(weigh("paper", "vgg", "--json").stdout) == weighbridge.paper("vgg").to_dict()


def test_operators_are_listed_by_family():
    text = weigh("ops").stdout
    for rule in weighbridge.operators():
        assert re.search(rf"^  {rule.kind} ", text, re.MULTILINE), rule.kind
        assert all(spelling in text for spelling in rule.aten)
    assert f"{len(weighbridge.operators())} operators with a rule" in text
    some = json.loads(weigh("ops", "contraction", "--json").stdout)["operators"]
    assert {entry["kind"] for entry in some} >= {"matmul", "convolution"}
    assert "nearest: contraction" in complaint("ops", "contractions")


def test_networks_are_listed():
    text = weigh("networks", "zoo").stdout
    assert text.startswith("zoo: ")
    assert " resnet50-v1 " in text
    assert "vgg16" in json.loads(weigh("networks", "zoo", "--json").stdout)["zoo"]
    assert listing.networks({"timm": ()}, width=None, color=False).startswith(
        "timm: not installed\n"
    )
    assert "no frontend is called 'keras'" in complaint("networks", "keras")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    result = weigh("completion", shell)
    assert result.exit_code == 0
    assert "_WEIGH_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [("weigh resnet1", "resnet18"), ("weigh comp", "compare"), ("weigh vgg16 --conv", "--convention"),
     ("weigh compare densenet12", "densenet121"), ("weigh vgg16 --by op", "operator")],
)  # fmt: skip
def test_completion_completes(words, expected):
    environment = {**PLAIN, "_WEIGH_COMPLETE": "bash_complete", "COMP_WORDS": words,
                   "COMP_CWORD": str(len(words.split()) - 1)}  # fmt: skip
    result = process(env=environment)
    assert f"plain,{expected}" in result.stdout.splitlines()


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["json", "csv", "md", "tex", "html", "txt"])
def test_a_file_takes_the_form_of_its_suffix(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    result = weigh("lenet5", "-o", str(path), "--depth", "1")
    assert (result.exit_code, result.stdout) == (0, "")
    expected = tmp_path / f"expected.{suffix}"
    weighbridge.weigh("lenet5").save(expected, depth=1)
    assert path.read_text(encoding="utf-8") == expected.read_text(encoding="utf-8")


def test_a_csv_file_adds_up(tmp_path):
    path = tmp_path / "layers.csv"
    weigh("googlenet", "-o", str(path), "--columns", "params,macs")
    *rows, total = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    for column in ("params", "MACs"):
        assert sum(int(row[column] or 0) for row in rows) == int(total[column])


def test_views_are_written_as_text(tmp_path):
    path = tmp_path / "tree.txt"
    assert weigh("lenet5", "--tree", "-o", str(path)).exit_code == 0
    assert path.read_text(encoding="utf-8") == weigh("lenet5", "--tree").stdout


def test_a_comparison_is_written(tmp_path):
    path = tmp_path / "c.html"
    assert weigh("compare", "lenet5", "vgg11", "-o", str(path)).exit_code == 0
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    table = tmp_path / "t.html"
    assert weigh("compare", "lenet5", "vgg11", "--by", "map", "-o", str(table)).exit_code == 0
    assert "<script" not in table.read_text(encoding="utf-8")
    assert "~" in weigh("compare", "lenet5", "--on", "rtx-4090").stdout


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zoo:resnet5O"], "weigh: the zoo has no network called 'resnet5O'\n  nearest: resnet50"),
        (["vgg16", "--train", "sdg"], "weigh: no optimizer is called 'sdg'\n  nearest: sgd\n"),
        (["vgg16", "--train", "adam", "--momentum", "0.9"], "weigh: adam has no momentum\n"),
        (["vgg16", "--momentum", "0.9"], "momentum without an optimizer\n  name one, as in --train sgd"),
        (["vgg16", "--dtype", "flaot32"], "weigh: no dtype is called 'flaot32'\n  nearest: float32"),
        (["vgg16", "--batch", "0"], "weigh: the batch has 0, and a size is at least 1"),
        (["vgg16", "--batch", "-3"], "weigh: the batch has -3, and a size is at least 1"),
        (["vgg16", "--batch", "many"], "weigh: Invalid value for '--batch': 'many' is not a valid integer.\n"
                                          "  see: weigh --help"),
        (["sweep", "vgg16", "--batch", "1:8"], "'1:8' is not a valid integer.\n  see: weigh sweep --help"),
        (["plot", "depth", "--span", "3"], "3 is not in the range 1<=x<=2.\n  see: weigh plot depth --help"),
        (["vgg16", "--batch", "9" * 30], "and the largest size taken is 1,000,000,000,000"),
        (["vgg16", "--input", "3,224,x"], "weigh: the input '3,224,x' has 'x', which is not a whole number"),
        (["vgg16", "--input", "3,-1,224"], "weigh: the input shape (3, -1, 224) has -1, and a size"),
        (["vgg16", "--input", "3,0,224"], "weigh: the input shape (3, 0, 224) has 0, and a size"),
        (["vgg16", "--input", "3,224"], "does not take an input of shape"),
        (["vgg16", "--input", "3,224,224:flaot16"], "weigh: no dtype is called 'flaot16'"),
        (["vgg16", "--input", "3,9,9", "--input", "3,9,9"], "vgg16 takes 1 input, and 2 were given"),
        (["vgg16", "--columns", "parms"], "weigh: no column is called 'parms'\n  nearest: params"),
        (["vgg16", "--convention", "flops"], "weigh: Invalid value for '--convention': 'flops' is not one of"),
        (["vgg16", "--bach", "3"], "weigh: No such option '--bach'"),
        (["vgg16", "resnet50"], "weigh: Got unexpected extra argument (resnet50)"),
        (["--batch", "2"], "weigh: Missing argument 'MODEL'"),
        (["vgg16", "--depth", "-1"], "weigh: Invalid value for '--depth'"),
        (["vgg16", "--json", "--tree"], "weigh: --tree and --json at once\n  choose one of them"),
        (["vgg16", "--space", "--by", "operator"], "weigh: --space and --by operator at once"),
        (["vgg16", "--formulas", "--tree"], "weigh: --formulas with --tree\n  --formulas is for"),
        (["vgg16", "--columns", "macs", "--by", "operator"], "weigh: --columns with --by operator\n"),
        (["vgg16", "--json", "-o", "x.csv"], "--json is written to a .json file, and 'x.csv' is none"),
        (["vgg16", "--tree", "-o", "x.csv"], "--tree is written to a .txt file, and 'x.csv' is none\n"
                                             "  give -o x.txt"),
        (["vgg16", "-o", "x.docx"], "weigh: cannot tell the form of 'x.docx' from the suffix '.docx'\n"
                                    "  there are: .json, .csv, .md, .tex, .html, .txt"),
        (["vgg16", "-o", "/proc/nowhere/x.csv"], "weigh: cannot write '/proc/nowhere/x.csv': no such file"),
        (["vgg16", "--space", "--dataset", "2", "--batch", "8"], "a data set of 2 samples has no batch of 8"),
        (["compare"], "weigh: Missing argument 'MODELS...'"),
        (["paper", "resent"], "weigh: no paper is called 'resent'\n  nearest: resnet"),
        (["completion", "tcsh"], "weigh: Invalid value for '{bash|zsh|fish}': 'tcsh' is not one of"),
        (["(Input)(3,224,224)(Conv)6c5w1s0p"], "weigh: "),
        (["(Input)(3,224,224)->(Konv)6c5w1s0p"], "weigh: "),
        (["(Input)(3,32,32)->add[(Conv)3c3w1s1p|"], "weigh: "),
        (["no_such_file.py:Net"], "weigh: "),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(arguments, message):
    said = complaint(*arguments, code=1 if "does not take" in message else 2)
    assert message in said


@pytest.mark.parametrize(
    "arguments", [["--columns", "parms"], ["-o", "x.docx"], ["--json", "--space"], ["--input", "a"]]
)
def test_slips_are_found_before_anything_is_weighed(monkeypatch, arguments):
    from weighbridge import frontends

    def never(source, workload):
        raise AssertionError("it was read")

    monkeypatch.setattr(frontends, "read", never)
    assert "internal error" not in complaint("vgg16", *arguments)


def test_an_unknown_name_gets_the_message_of_the_design():
    said = complaint("resnet5O").splitlines()
    assert said[0] == "weigh: no network is called 'resnet5O'"
    assert re.fullmatch(r"  looked in: zoo(, torchvision)?(, timm)?(; .* not installed)?", said[1])
    assert said[2].startswith("  nearest: resnet50")
    assert said[3] == "  see all names: weigh networks"


def test_notation_is_pointed_at():
    said = complaint("(Input)(3,224,224)->(Konv)6c5w1s0p").splitlines()
    pointer = next(line for line in said if line.strip() == "^")
    line = said[said.index(pointer) - 1]
    assert line[pointer.index("^") :].lstrip("(").startswith("Konv")


def test_a_shape_that_does_not_fit_names_layer_and_shapes():
    said = complaint("vgg16", "--input", "3,7,7", code=1)
    # 7 -> 3 -> 1 -> 0: the third of the poolings has nothing left to halve
    assert "features.16 (max_pool) does not take an input of shape (1, 256, 1, 1)" in said


def test_strict_exits_with_three(monkeypatch):
    from weighbridge import ops
    from weighbridge.analyses import compute
    from weighbridge.reports import layers

    def without_relu(kind):
        return None if kind == "relu" else ops.rule_of(kind)

    monkeypatch.setattr(compute, "rule_of", without_relu)
    monkeypatch.setattr(layers, "rule_of", without_relu)
    result = weigh("lenet5")
    assert result.exit_code == 0
    assert "not counted: relu, 4 times" in result.stdout
    assert re.search(r"^relu1 .* \? ", result.stdout, re.MULTILINE)
    said = complaint("lenet5", "--strict", code=3)
    assert said == (
        "weigh: 4 operators not counted: relu (4 times)\n"
        "  give it a rule (weighbridge.rule), or leave out --strict to see the rest\n"
    )


def test_a_bug_of_ours_is_one_message_too(monkeypatch):
    from weighbridge import api

    def fails(*arguments, **settings):
        raise KeyError("no operator 'spam'")

    monkeypatch.setattr(api, "weigh", fails)
    said = complaint("vgg16", code=1)
    assert said.startswith("weigh: internal error: KeyError: \"no operator 'spam'\"\n")
    assert "WEIGH_DEBUG=1 shows where it happened" in said
    result = weigh("vgg16", WEIGH_DEBUG="1")
    assert isinstance(result.exception, KeyError)


def test_an_interruption_is_quiet(monkeypatch):
    from weighbridge import api

    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "weigh", interrupted)
    result = weigh("vgg16")
    assert result.exit_code == 130
    assert result.output.strip() == ""


# -- the user's own file -------------------------------------------------------------------------

FILES = {
    "empty.py": "",
    "broken.py": "def f(:\n",
    "raises.py": "raise ValueError('no luck')\n",
    "net.py": (
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc = torch.nn.Linear(8, 2)\n"
        "    def forward(self, x):\n"
        "        return self.fc(x)\n"
        "class Wrong(Net):\n"
        "    def forward(self, x):\n"
        "        return self.fc(x) @ torch.ones(3, 3)\n"
        "class NeedsData(Net):\n"
        "    def forward(self, x):\n"
        "        return x * 2 if x.sum() > 0 else self.fc(x)\n"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("user")
    for name, content in FILES.items():
        (path / name).write_text(content, encoding="utf-8")
    (path / "folder.py").mkdir()
    return path


@pytest.mark.torch
def test_a_users_own_module_is_weighed(folder):
    result = weigh(f"{folder / 'net.py'}:Net", "--input", "8", "--batch", "3", "--json")
    record = json.loads(result.stdout)
    assert record["network"]["name"] == "Net"
    # 3 samples, 8 inputs to 2 outputs
    assert record["compute"]["forward"]["macs"] == 3 * 8 * 2


@pytest.mark.torch
@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("missing.py:Net", 2, ["missing.py"]),
        ("empty.py:Net", 2, ["empty"]),
        ("folder.py:Net", 2, ["folder"]),
        ("broken.py:Net", 2, ["broken.py:1: def f(:"]),
        ("raises.py:Net", 1, ["no luck", "raises.py:1"]),
        ("net.py:Nett", 2, ["Nett", "Net"]),
        ("net.py", 2, ["net.py"]),
        ("net.py:Wrong", 1, ["net.py", "return self.fc(x) @ torch.ones(3, 3)"]),
    ],
)
def test_files_that_cannot_be_weighed_are_told_why(folder, source, code, words):
    said = complaint(str(folder / source), "--input", "8", code=code)
    for word in words:
        assert word in said


@pytest.mark.torch
def test_a_network_that_asks_for_values_is_weighed_on_some(folder):
    said = weigh(f"{folder / 'net.py'}:NeedsData", "--input", "8").stdout
    assert "run on small real data" in said
    assert "if x.sum() > 0" in said


# -- as a process --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["vgg16", "--train", "sgd"], [LINE], ["paper", "googlenet"], ["ops"], ["networks", "zoo"],
     ["compare", "vgg16", "lenet5"], ["vgg16", "--space"], ["vgg16", "--tree"], ["vgg16", "--json"],
     ["vgg16", "--on", "rtx-4090"], ["roofline", "vgg16", "--on", "rtx-4090"]],
)  # fmt: skip
def test_frameworks_and_formulas_are_not_loaded_in_vain(arguments):
    code = (
        "import sys\n"
        "from weighbridge.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({n.partition('.')[0] for n in sys.modules} & {'torch', 'torchvision', 'timm',"
        " 'transformers', 'numpy', 'pandas', 'sympy', 'rich', 'matplotlib'}), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert result.stderr == "[]\n"


def test_help_loads_no_network_and_no_rule():
    code = (
        "import sys\n"
        "from weighbridge.cli import main\n"
        "try: main()\n"
        "finally: print(*[n for n in sys.modules if n.startswith('weighbridge.')], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert not re.search(r"weighbridge\.(ops|frontends|analyses|api|program)", result.stderr)


def test_pipes_get_plain_text_of_full_width():
    result = process("vgg16", env={**PLAIN, "TERM": "xterm-256color"})
    assert "\x1b" not in result.stdout
    assert "█" in result.stdout
    assert "left out" not in result.stdout
    assert result.stderr == ""


def test_colour_when_asked_for_even_in_a_pipe():
    assert "\x1b[1m" in process("vgg16", "--color").stdout


def test_a_reader_that_leaves_early_is_no_error():
    writer = subprocess.Popen(
        [*COMMAND, "densenet201", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.read(10)
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(timeout=60) == 0


def test_ctrl_c_ends_with_130_and_without_a_traceback():
    code = (
        "import weighbridge.api, time\n"
        "def slow(*a, **k):\n"
        "    print('ready', flush=True); time.sleep(60)\n"
        "weighbridge.api.weigh = slow\n"
        "from weighbridge.cli import main; main()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code, "vgg16"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts background jobs with the signal ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None  # where goes what is printed while a network is read
    assert running.stderr.readline() == b"ready\n"
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert error.strip() == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_is_no_error(encoding):
    result = process(
        "vgg16",
        env={**PLAIN, "PYTHONIOENCODING": encoding},
        encoding=encoding,
        errors="replace",
    )
    assert result.returncode == 0
    assert "138,357,544" in result.stdout


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize(("variable", "coloured"), [("NOTHING", True), ("NO_COLOR", False)])
def test_a_terminal_gets_colour_and_its_width(variable, coloured):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    environment = PLAIN | {"TERM": "xterm-256color", variable: "1"}
    running = subprocess.Popen([*COMMAND, "vgg16"], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(ours)
    assert running.wait(timeout=60) == 0
    text = output.decode()
    assert ("\x1b[" in text) is coloured
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 60
    assert "left out for want of room" in text


def test_nearest_helps_with_digits_that_are_letters():
    assert nearest("resnet5O", ("resnet18", "resnet50"), 1) == ("resnet50",)
    with pytest.raises(UsageError, match="no network is called 'resnet5O'"):
        weighbridge.weigh("resnet5O")
