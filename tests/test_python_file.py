"""`net.py:Net`: the user's own file, run; and every way in which it can be wrong."""

import sys

import pytest

torch = pytest.importorskip("torch")

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.frontends import python_file  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

NET = """
import torch
from torch import nn
import width

class Net(nn.Module):
    def __init__(self, features=width.FEATURES):
        super().__init__()
        self.layer = nn.Linear(3, features)

    def forward(self, x):
        return self.layer(x)

class Needs(Net):
    def __init__(self, features, depth):
        super().__init__(features)

def build():
    return Net(7)

def double(x):
    return x @ torch.ones(3, 5)

def number():
    return 3

def raises():
    raise KeyError("depth")

built = Net(11)
constant = 3
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "width.py").write_text("FEATURES = 5\n")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def read(source, shape=(3,), **settings):
    return python_file.read(str(source), Workload(inputs=(InputSpec(shape=shape),), **settings))


@pytest.mark.parametrize(
    ("name", "macs"),
    [("Net", 15), ("build", 21), ("built", 33), ("double", 15), ("Net.forward", 0)],
)
def test_a_class_a_factory_a_module_and_a_function(net, name, macs):
    if name == "Net.forward":
        with pytest.raises(WeighError):  # a method without its object
            read(f"{net}:{name}")
        return
    program = read(f"{net}:{name}")
    assert compute(program).forward.macs == macs
    assert (program.network, program.source) == (name, f"{net}:{name}")
    assert (program.frontend, program.rung) == ("python", "meta")


def test_the_files_folder_is_on_the_path_only_while_it_runs(net):
    before = list(sys.path)
    read(f"{net}:Net")
    assert sys.path == before


def test_what_is_a_python_file():
    assert python_file.is_python_file("net.py:Net")
    assert python_file.is_python_file("a/net.py")
    assert python_file.is_python_file("C:\\nets\\net.py:Net")
    assert not python_file.is_python_file("resnet50")
    assert not python_file.is_python_file("(Input)(3,8,8)->(Conv)6c5w1s0p")


def message(kind, source, match, **settings):
    with pytest.raises(kind, match=match) as caught:
        read(source, **settings)
    return str(caught.value)


def test_no_such_file(net):
    text = message(UsageError, net.with_name("nett.py:Net"), "there is no file .*nett.py")
    assert f"nearest: {net}" in text


def test_a_directory(tmp_path):
    (tmp_path / "folder.py").mkdir()
    message(UsageError, tmp_path / "folder.py:Net", "folder.py is a directory")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.py").write_text("\n")
    message(UsageError, tmp_path / "empty.py:Net", "empty.py is empty")


def test_not_python(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import torch\nclass Net(:\n    pass\n")
    text = message(UsageError, f"{file}:Net", "broken.py is not Python: invalid syntax")
    assert text.endswith("broken.py:2: class Net(:")
    file.write_bytes(b"\x00\x01\x02")
    message(UsageError, f"{file}:Net", "broken.py is not Python: source code .* null bytes")
    file.write_bytes(b"x = '\xff'\n")
    message(UsageError, f"{file}:Net", "broken.py is not Python: .*utf-8")


def test_a_file_that_raises_shows_its_own_line(tmp_path):
    file = tmp_path / "raises.py"
    file.write_text("import json\n\nsettings = json.loads('{')\n")
    text = message(WeighError, f"{file}:Net", "raises.py cannot be run: JSONDecodeError")
    assert "raises.py:3: settings = json.loads('{')" in text
    file.write_text("import no_such_package\n")
    message(WeighError, f"{file}:Net", "cannot be run: ModuleNotFoundError: .*no_such_package")


def test_a_file_that_ends_the_program(tmp_path):
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(4)\n")
    text = message(WeighError, tmp_path / "ends.py:Net", r"ends the program: sys.exit\(4\)")
    assert "ends.py:2: sys.exit(4)" in text
    assert "if __name__ == '__main__':" in text


def test_no_such_name(net):
    text = message(UsageError, f"{net}:Nett", "has no 'Nett'")
    assert "nearest: Net" in text
    assert "it defines: Net, Needs, build, double, number, raises" in text


def test_no_name_at_all(net):
    text = message(UsageError, net, "is a file: which of its networks")
    assert f"name one: {net}:built" in text


def test_a_class_that_needs_arguments(net):
    text = message(
        UsageError, f"{net}:Needs", "cannot be built without arguments: it needs features, depth"
    )
    assert "def build(): return Needs(features=..., depth=...)" in text


def test_things_that_are_no_networks(net):
    message(UsageError, f"{net}:constant", "net.py:constant is int, which is no network")
    message(
        UsageError, f"{net}:number", r"net.py:number\(\) makes int, which is no torch.nn.Module"
    )


def test_a_factory_that_raises_shows_its_own_line(net):
    text = message(WeighError, f"{net}:raises", "net.py:raises cannot be built: KeyError: 'depth'")
    assert 'net.py:25: raise KeyError("depth")' in text or 'raise KeyError("depth")' in text


def test_a_forward_that_raises_shows_its_own_line_and_the_input(net):
    text = message(
        WeighError, f"{net}:Net", r"forward of the network failed in layer \(Linear\): ", shape=(4,)
    )
    assert "net.py:12: return self.layer(x)" in text
    assert "it was given: x (1, 4) float32" in text


def test_a_network_that_needs_data_shows_the_line_that_asks(tmp_path):
    file = tmp_path / "asks.py"
    file.write_text("def forward(x):\n    if x.sum() > 0:\n        return x\n    return -x\n")
    program = read(f"{file}:forward")
    assert "asks.py:2: if x.sum() > 0: asks for values" in program.warnings[0]


def test_without_pytorch(net, monkeypatch):
    monkeypatch.setattr(python_file, "find_spec", lambda _: None)
    message(UsageError, f"{net}:Net", "PyTorch is not installed")


def test_no_input_shape(net):
    with pytest.raises(UsageError, match="no input shape is known for Net") as caught:
        python_file.read(f"{net}:Net", Workload())
    assert "its forward takes (x)" in str(caught.value)
