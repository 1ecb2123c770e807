"""Mistakes that people make in files of their own: each whole message, as the command prints it.

What PyTorch itself says in the first line is PyTorch's, and differs by version: there the test holds the
beginning, and every line of ours below it.
"""

import subprocess
import sys

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from weighbridge.cli import main  # noqa: E402
from weighbridge.frontends import python_file  # noqa: E402
from weighbridge.frontends.torch import rungs, tracing  # noqa: E402

pytestmark = pytest.mark.torch

FILES = {
    "net.py": """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))

class Head(nn.Linear):
    def __init__(self, width):
        super().__init__(width, 10)

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)

class Typo(Line):
    def forward(self, x):
        return self.fcc(x)

class Endless(Line):
    def forward(self, x):
        return self.forward(x)

class Ends(Line):
    def forward(self, x):
        raise SystemExit("no more")

class Inside(Line):
    def __init__(self):
        super().__init__()
        self.me = self

class Absent(Line):
    def __init__(self):
        super().__init__()
        raise RuntimeError("Found no NVIDIA driver on your system.")

class AbsentLater(Line):
    def forward(self, x):
        raise RuntimeError("Torch not compiled with CUDA enabled")

class Weights(Line):
    def __init__(self):
        super().__init__()
        torch.load("weights.pt")

class NoForward(nn.Module):
    pass

class Words(nn.Embedding):
    def __init__(self):
        super().__init__(10, 4)

class Checks(Line):
    def forward(self, x):
        assert x.shape[1] == 5, "five features wanted"
        return self.fc(x)

class Asks(Line):
    def forward(self, x):
        if x.sum() > 1e9:
            return x
        raise ValueError("it is too small")

def leaves():
    raise SystemExit(4)
""",
    "data.py": """
from dataclasses import dataclass
from torch import nn

@dataclass
class Net(nn.Module):
    width: int = 8

    def __post_init__(self):
        super().__init__()
        self.fc = nn.Linear(self.width, 2)
""",
    "missing.py": "import torch\nimport no_such_package.layers\n",
    "relative.py": "from .no_such_file import Block\n",
    "usage.py": "import argparse\nparser = argparse.ArgumentParser()\n"
    'parser.add_argument("--data", required=True)\nparser.parse_args()\n',
}  # fmt: skip

NO_DEVICE = (
    "no device is needed to weigh a network: leave out .cuda() and device='cuda', "
    "or move the network where it is used"
)
SHAPE = "another input: --input 3,224,224 (shape without the batch axis)"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.lstrip("\n"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(source, *arguments, code=1):
    """The lines on stderr, without the first word and the indentation."""
    result = CliRunner().invoke(main, [source, *arguments])
    assert result.stdout == ""
    assert result.exit_code == code, result.output
    first, *rest = result.stderr.rstrip("\n").split("\n")
    return [first.removeprefix("weigh: "), *(line.removeprefix("  ") for line in rest)]


# -- the network ----------------------------------------------------------------------------------


def test_a_shape_that_does_not_fit_shows_line_module_and_what_it_got():
    first, *rest = said("net.py:Small", "--input", "4,16,16")
    assert first.startswith("forward of the network failed in conv (Conv2d): RuntimeError: ")
    assert rest == [
        "net.py:11: return self.fc(self.conv(x).mean((2, 3)))",
        "Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1)) got (1, 4, 16, 16) float32",
        "it was given: x (1, 4, 16, 16) float32",
        SHAPE,
    ]


def test_an_assertion_of_the_users():
    assert said("net.py:Checks", "--input", "4") == [
        "forward of the network failed: AssertionError: five features wanted",
        'net.py:65: assert x.shape[1] == 5, "five features wanted"',
        "it was given: x (1, 4) float32",
        SHAPE,
    ]


def test_a_misspelt_layer_names_the_nearest():
    assert said("net.py:Typo", "--input", "4") == [
        "forward of the network failed: AttributeError: 'Typo' object has no attribute 'fcc'",
        "net.py:27: return self.fcc(x)",
        "it was given: x (1, 4) float32",
        "nearest: fc",
    ]


def test_endless_recursion():
    first, *rest = said("net.py:Endless", "--input", "4")
    assert first.startswith("forward of the network failed: RecursionError: maximum recursion")
    assert rest == [
        "net.py:31: return self.forward(x)",
        "it was given: x (1, 4) float32",
        "it calls itself, and nothing ends that",
    ]


def test_a_network_inside_itself():
    assert said("net.py:Inside", "--input", "4") == [
        "me (Inside) lies inside itself, and PyTorch walks over modules without end",
        "keep the reference where PyTorch does not look: in a tuple, self.parent = (module,)",
    ]


def test_a_dataclass_that_cannot_be_hashed():
    assert said("data.py:Net", "--input", "8") == [
        "Net cannot be hashed, and PyTorch does so with every module",
        "a dataclass is hashed as any module is with @dataclass(eq=False)",
    ]


def test_no_forward():
    first, *rest = said("net.py:NoForward", "--input", "4")
    assert first.startswith("forward of the network failed: NotImplementedError: ")
    assert rest[-1] == (
        "give its class a forward, or put the layers into nn.Sequential, which has one"
    )
    assert SHAPE not in rest


def test_a_forward_that_ends_the_program():
    assert said("net.py:Ends", "--input", "4") == [
        "Ends ends the program: sys.exit, saying no more",
        'net.py:35: raise SystemExit("no more")',
    ]


@pytest.mark.parametrize(
    ("name", "first", "lines"),
    [
        (
            "Absent",
            "net.py:Absent cannot be built: RuntimeError: Found no NVIDIA driver on your system.",
            ['net.py:45: raise RuntimeError("Found no NVIDIA driver on your system.")'],
        ),
        (
            "AbsentLater",
            "forward of the network failed: RuntimeError: Torch not compiled with CUDA enabled",
            [
                'net.py:49: raise RuntimeError("Torch not compiled with CUDA enabled")',
                "it was given: x (1, 4) float32",
            ],
        ),
    ],
)
def test_a_device_that_is_not_there(name, first, lines):
    """The messages are PyTorch's own, of a machine without a driver and of one built without CUDA."""
    assert said(f"net.py:{name}", "--input", "4") == [first, *lines, NO_DEVICE]


def test_a_device_that_this_machine_lacks(folder):
    if torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    (folder / "apple.py").write_text(
        "from torch import nn\n\ndef build():\n    return nn.Linear(4, 4).to('mps')\n"
    )
    first, *rest = said("apple.py:build", "--input", "4")
    assert first.startswith("apple.py:build cannot be built: RuntimeError: ")
    assert rest == ["apple.py:4: return nn.Linear(4, 4).to('mps')", NO_DEVICE]


def test_weights_that_are_not_there():
    assert said("net.py:Weights", "--input", "4") == [
        "net.py:Weights cannot be built: FileNotFoundError: "
        "[Errno 2] No such file or directory: 'weights.pt'",
        'net.py:54: torch.load("weights.pt")',
        "a path counts from the folder in which this runs; weights need not be loaded",
    ]


# -- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"), [("Line", "4:int64"), ("Words", "4")], ids=["whole", "broken"]
)
def test_a_dtype_that_does_not_fit(name, shape):
    first, *rest = said(f"net.py:{name}", "--input", shape)
    assert first.startswith("forward of the network failed")
    assert rest[-1] == "another dtype, behind a colon: --input 512:int64, --input 3,224,224:float16"


def test_a_dtype_that_there_is_not():
    assert said("net.py:Line", "--input", "4:int7", code=2) == [
        "no dtype is called 'int7'",
        "nearest: int8, int4, int2",
    ]


# -- the file -------------------------------------------------------------------------------------


def test_which_network():
    assert said("net.py", code=2) == [
        "net.py is a file: which of its networks?",
        "it has: Small, Head, Line, Typo, Endless, Ends, Inside, Absent, AbsentLater, Weights, "
        "NoForward, Words and 2 more",
        "name one: net.py:Asks",
    ]


def test_a_class_that_needs_arguments():
    assert said("net.py:Head", "--input", "8", code=2) == [
        "net.py:Head cannot be built without arguments: it needs width",
        "write a function that builds it, and name that: def build(): return Head(width=...)",
    ]


def test_a_package_that_is_not_installed():
    assert said("missing.py:Net") == [
        "missing.py cannot be run: ModuleNotFoundError: No module named 'no_such_package'",
        "missing.py:2: import no_such_package.layers",
        "install the package that brings no_such_package",
    ]


def test_a_relative_import_of_nothing(folder):
    assert said("relative.py:Net") == [
        "relative.py cannot be run: ModuleNotFoundError: "
        f"No module named '{folder.name}.no_such_file'",
        "relative.py:1: from .no_such_file import Block",
    ]


def test_a_script_that_wants_arguments_of_its_own():
    assert said("usage.py:Net") == [
        "usage: usage.py [-h] --data DATA",
        "usage.py: error: the following arguments are required: --data",
        "weigh: usage.py, while it is loaded, ends the program: sys.exit(2)",
        "usage.py:4: parser.parse_args()",
        "put what runs only as a script under: if __name__ == '__main__':",
    ]


def test_a_factory_that_ends_the_program():
    assert said("net.py:leaves") == [
        "net.py:leaves ends the program: sys.exit(4)",
        "net.py:75: raise SystemExit(4)",
    ]


def test_a_file_that_is_called_like_a_library(folder):
    """PyTorch looks for `cuda.bindings` while it loads, and `python net.py` fails of such a file."""
    for name in ("cuda", "random", "copy"):
        (folder / f"{name}.py").write_text("raise ValueError('loaded')\n")
    code = "from weighbridge.cli import main; main()"
    # -P: the folder is not on the path to begin with, as with the command `weigh`.
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "net.py:Line", "--input", "4"],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert "20    16" in done.stdout  # 4*4 + 4 parameters, 4*4 MACs


def test_a_part_of_a_package_runs_as_such(folder):
    package = folder / "mine" / "nets"
    package.mkdir(parents=True)
    (folder / "mine" / "__init__.py").write_text("WIDTH = 6\n")
    (package / "layers.py").write_text("from torch.nn import Linear as Block\n")
    (package / "net.py").write_text(
        "from .. import WIDTH\nfrom .layers import Block\n\n"
        "def build():\n    return Block(WIDTH, 2, bias=False)\n"
    )
    before = set(sys.modules)
    result = CliRunner().invoke(main, ["mine/nets/net.py:build", "--input", "6", "--json"])
    assert result.exit_code == 0, result.output
    assert '"macs": 12' in result.stdout
    assert not list(folder.rglob("__pycache__"))
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_another_package_of_that_name_is_loaded(folder, monkeypatch):
    (folder / "xml" / "deep").mkdir(parents=True)
    (folder / "xml" / "net.py").write_text("from .layers import Block\n")
    import xml

    first, second = said("xml/net.py:Net", code=2)
    assert first == (
        "xml/net.py imports from its package xml, and another one of that name is loaded: "
        f"{xml.__path__[0]}"
    )
    assert second == "rename the folder, or import without the dots"


# -- data -----------------------------------------------------------------------------------------


def test_what_fails_on_random_data_says_how_to_give_other(folder):
    (folder / "asks.py").write_text(
        "def forward(x):\n    if float(x[0, 0]) < 1e9:\n        raise ValueError('too small')\n"
    )
    assert said("asks.py:forward", "--input", "4", "--strict", code=3) == [
        "the network stopped half-way",
        "forward at asks.py:2: if float(x[0, 0]) < 1e9: asks for values: run on data, random where none was given, "
        "and what is counted depends on them",
        "forward of the network failed: ValueError: too small: asks.py:3: raise ValueError('too small')",
        "it ran on random data; data of your own, in Python: weigh(model, (tensor,))",
    ]


def test_sparse_tensors_are_not_weighed(folder):
    (folder / "sparse.py").write_text(
        "import torch\n\ndef forward(x):\n    return torch.sparse.mm(torch.eye(4).to_sparse(), x.T)\n"
    )
    assert said("sparse.py:forward", "--input", "4", "--strict", code=3) == [
        "the network stopped half-way",
        "forward at sparse.py:4: return torch.sparse.mm(torch.eye(4).to_sparse(), x.T) asks for values: run on data, "
        "random where none was given, and what is counted depends on them",
        "the network works on sparse tensors, which are not weighed: "
        "sparse.py:4: return torch.sparse.mm(torch.eye(4).to_sparse(), x.T)",
    ]


def test_too_large_for_data_is_said_before_any_is_made(monkeypatch):
    monkeypatch.setattr(tracing, "available_bytes", lambda: 100)
    monkeypatch.setattr(rungs.Real, "twin", lambda *_: pytest.fail("data were taken"))
    lines = said("net.py:Asks", "--input", "4")
    # 4*4 + 4 parameters, 4 inputs, their sum and its comparison: 20*4 + 16 + 4 + 1 bytes
    assert lines == [
        "the network needs data to run: forward asks for values, and there are none",
        "net.py:70: if x.sum() > 1e9:",
        "operator: aten._local_scalar_dense.default",
        "with data it would take at least 101 B, and it may take 60 B: 60.0 % of the memory that is free",
        "make the batch or the input smaller",
    ]


OPERATORS = """
import torch
from torch import nn

@torch.library.custom_op("{name}::scan", mutates_args=())
def scan(x: torch.Tensor) -> torch.Tensor:
    return x * 2
{fake}
def forward(x):
    return scan(x)
"""
FAKE = """
@scan.register_fake
def _(x):
    return torch.empty_like(x)
"""


def test_an_operator_without_a_rule_under_strict(folder):
    (folder / "own.py").write_text(OPERATORS.format(name="weighed_strictly", fake=FAKE))
    assert said("own.py:forward", "--input", "4", "--strict", code=3) == [
        "1 operator not counted: weighed_strictly.scan (1 time)",
        "give it a rule (weighbridge.rule), or leave out --strict to see the rest",
    ]


def test_an_operator_that_works_on_data_alone_gets_some(folder):
    (folder / "own.py").write_text(OPERATORS.format(name="weighed_with_data", fake=""))
    result = CliRunner().invoke(main, ["own.py:forward", "--input", "4"])
    assert result.exit_code == 0, result.output
    assert "run on small real data" in result.stdout
    assert "not counted: weighed_with_data.scan, 1 time" in result.stdout


def test_a_configuration_with_code_of_its_own_is_never_run(folder):
    pytest.importorskip("transformers")
    (folder / "config.json").write_text(
        '{"model_type": "llama", "auto_map": {"AutoModel": "modeling.Net"}}'
    )
    (folder / "modeling.py").write_text("raise SystemExit('it was run')\n")
    assert said("hf:config.json") == [
        "config.json names code of its own (auto_map), and a configuration's code is never run",
        "write a Python file that builds the network: weigh net.py:build",
    ]


def test_an_architecture_whose_package_is_missing(folder):
    transformers = pytest.importorskip("transformers")
    if transformers.utils.is_natten_available():
        pytest.skip("it is installed here")
    (folder / "config.json").write_text('{"model_type": "dinat"}')
    assert said("hf:config.json", code=2) == [
        "networks of type 'dinat' need a package that is not installed: natten",
        "try: pip install natten",
    ]


# -- weights --------------------------------------------------------------------------------------

ROUTES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 8)
        self.gate = nn.Parameter(torch.zeros(1))
        nn.init.constant_(self.gate, 3.0)
        print("built")

    def forward(self, x):
        return self.second(x) if self.gate > 2 else self.first(x)
"""


def test_a_network_that_asks_for_its_weights_gets_its_authors(folder):
    """Built without memory first, and with weights only when it asks for them."""
    (folder / "routes.py").write_text(ROUTES)
    result = CliRunner().invoke(main, ["routes.py:Net", "--input", "4", "--json"])
    assert result.exit_code == 0, result.output
    assert (
        '"macs": 32' in result.stdout
    )  # the second layer, 4*8: the gate is 3, as its author set it
    assert result.stderr == "built\nbuilt\n"


def test_a_network_too_large_for_its_weights_keeps_random_ones(folder, monkeypatch):
    (folder / "routes.py").write_text(ROUTES)
    monkeypatch.setattr(python_file, "_fits", lambda _: False)
    result = CliRunner().invoke(main, ["routes.py:Net", "--input", "4"])
    assert result.exit_code == 0, result.output
    assert result.stderr == "built\n"


def test_a_network_larger_than_the_machine_is_built(folder):
    # 2**20 squared is 4 TiB of float32.
    (folder / "huge.py").write_text(
        "from torch import nn\n\ndef build():\n    return nn.Linear(2**20, 2**20, bias=False)\n"
    )
    result = CliRunner().invoke(main, ["huge.py:build", "--input", "1048576", "--json"])
    assert result.exit_code == 0, result.output
    assert f'"macs": {2**40}' in result.stdout
