"""The Python API: what goes in, what comes out, and what is refused with one clear message."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import weighbridge
from weighbridge.analyses.memory.timeline import timeline
from weighbridge.errors import NotationError, StrictError, UsageError, WeighError
from weighbridge.frontends import zoo
from weighbridge.workload import InputSpec, Workload

LINE = "(Input)(3,224,224)->(Conv)6c5w1s0p"


def isolated(code: str) -> str:
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


# -- importing -----------------------------------------------------------------------------------


def test_importing_loads_nothing():
    loaded = isolated(
        "import sys; import weighbridge;"
        "print(*(m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names))"
    ).split()
    site = {name for name in loaded if name.startswith(("_", "sitecustomize", "distutils"))}
    assert set(loaded) - site == {"weighbridge"}


@pytest.mark.parametrize("what", ["vgg16", LINE])
def test_zoo_and_notation_need_no_third_party_package(what):
    code = (
        "import sys, weighbridge\n"
        f"report = weighbridge.weigh({what!r}, train='adam')\n"
        "str(report), report.to_json(), report.to_csv(), report.to_html(), report.to_latex()\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(roots & {'torch', 'torchvision', 'timm', 'transformers', 'numpy', 'pandas', 'sympy',"
        " 'rich', 'click'})"
    )
    assert isolated(code) == "set()"


def test_every_public_name_is_there():
    for name in weighbridge.__all__:
        assert getattr(weighbridge, name) is not None
    assert set(weighbridge.__all__) <= set(dir(weighbridge))
    with pytest.raises(AttributeError, match="module 'weighbridge' has no attribute 'weight'"):
        _ = weighbridge.weight


# -- what goes in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inputs",
    [
        (3, 64, 64), [3, 64, 64], "3,64,64", "3x64x64", [(3, 64, 64)], {"input": (3, 64, 64)},
        {"input": "3,64,64"}, InputSpec(shape=(3, 64, 64)), [InputSpec(shape=(3, 64, 64))],
    ],
)  # fmt: skip
def test_an_input_can_be_given_in_many_ways(inputs):
    report = weighbridge.weigh("resnet18", inputs, batch=2)
    assert [tensor.shape for tensor in report.program.inputs] == [(2, 3, 64, 64)]


def test_a_length_alone_is_a_shape():
    # L10: 100 inputs to 10 outputs, with bias, are 2,000 operations
    report = weighbridge.weigh("(fc)10", 100, convention="lecture")
    assert report.weighing.total("forward") == 2000


def test_sizes_of_other_libraries_are_whole_numbers():
    numpy = pytest.importorskip("numpy")
    report = weighbridge.weigh("(fc)10", (numpy.int64(100),))
    assert report.compute.forward.macs == 1000


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("3,224,224", InputSpec(shape=(3, 224, 224))),
        ("3x224x224", InputSpec(shape=(3, 224, 224))),
        (" 3, 224, 224 ", InputSpec(shape=(3, 224, 224))),
        ("ids=512:int64", InputSpec(shape=(512,), dtype="int64", name="ids")),
        ("seq=4096", InputSpec(shape=(4096,), name="seq")),
    ],
)
def test_inputs_are_read_as_they_are_typed(text, spec):
    from weighbridge.settings import read_input

    assert read_input(text) == spec


@pytest.mark.parametrize(
    ("text", "word"),
    [("3,224,x", "'x'"), ("", "''"), ("3,,4", "''"), ("3.5", "'3.5'"), ("a=b", "'b'")],
)
def test_inputs_that_are_no_sizes_are_refused(text, word):
    with pytest.raises(UsageError, match=f"has {word}, which is not a whole number"):
        weighbridge.weigh("vgg16", text)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((3, -1, 224), "has -1, and a size is at least 1"),
        ((3, 0, 224), "has 0, and a size is at least 1"),
        ((3, 10**13, 224), "the largest size taken is 1,000,000,000,000"),
        ((3.5, 2), "has 3.5, which is not a whole number"),
        (2.5, "an input of type float is not a shape"),
        ([("a", 2)], "has 'a', which is not a whole number"),
    ],
)
def test_sizes_that_no_tensor_has_are_refused(inputs, message):
    with pytest.raises(UsageError, match=message):
        weighbridge.weigh("vgg16", inputs)


def test_a_shape_that_does_not_fit_names_the_layer():
    with pytest.raises(WeighError, match=r"features\.\d+ .* does not take an input of shape"):
        weighbridge.weigh("vgg16", (3, 7, 7))


def test_a_program_is_weighed_as_it_is():
    program = zoo.read("lenet5", Workload(batch=3))
    report = weighbridge.weigh(program)
    assert report.program is program
    assert report.workload.batch == 3
    with pytest.raises(UsageError, match="a Program has its workload already"):
        weighbridge.weigh(program, batch=4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "an object of type int is not a network"),
        (None, "an object of type NoneType is not a network"),
        (dict, "dict is a class, and a network is wanted"),
        ("resnet5O", "no network is called 'resnet5O'"),
        ("zoo:resnet5O", "the zoo has no network called 'resnet5O'"),
        ("", "no network is called ''"),
    ],
)
def test_what_is_no_network_is_refused(model, message):
    with pytest.raises(UsageError, match=message):
        weighbridge.weigh(model)


def test_an_unknown_name_says_where_it_was_looked_for(monkeypatch):
    from weighbridge import frontends

    only = {"zoo": True, "torchvision": False, "timm": False, "hf": False}
    monkeypatch.setattr(frontends, "installed", only.__getitem__)
    monkeypatch.setattr(frontends, "has", lambda frontend, name: False)
    with pytest.raises(UsageError) as caught:
        weighbridge.weigh("resnet5O")
    assert caught.value.message == "no network is called 'resnet5O'"
    assert caught.value.hints[0] == (
        "looked in: zoo; torchvision, timm and transformers are not installed"
    )
    assert caught.value.hints[1].startswith("nearest: resnet50")
    assert caught.value.hints[-1] == "see all names: weigh networks"


def test_words_without_arrows_are_told_of_the_notation():
    with pytest.raises(UsageError) as caught:
        weighbridge.weigh("Conv 6c5w then fc 10")
    assert any("notation has arrows between its layers" in hint for hint in caught.value.hints)


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b"])
def test_what_cannot_be_a_path_is_no_file(name):
    with pytest.raises(UsageError, match="no network is called") as caught:
        weighbridge.weigh(name)
    assert not any("is a file" in hint for hint in caught.value.hints)


def test_a_file_that_is_no_network_is_told_of_the_prefixes(tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}")
    with pytest.raises(UsageError) as caught:
        weighbridge.weigh(str(config))
    assert any(f"a config hf:{config}" in hint for hint in caught.value.hints)


def test_the_source_is_told():
    assert weighbridge.weigh("vgg16").source == "zoo:vgg16"
    assert weighbridge.weigh("zoo:vgg16").to_dict()["network"]["source"] == "zoo:vgg16"
    assert weighbridge.weigh(LINE).source == LINE


# -- settings ------------------------------------------------------------------------------------


def test_optimizer_settings_reach_the_update():
    plain = weighbridge.weigh("100 -> (fc)10", train="sgd")
    moving = weighbridge.weigh("100 -> (fc)10", train="sgd", momentum=0.9, weight_decay=1e-4)
    nesterov = weighbridge.weigh("100 -> (fc)10", train="sgd", momentum=0.9, nesterov=True)
    # 1,010 parameters; p - rate * g; m * b + g; g + decay * p; g + m * b: one multiplication each
    multiplications = [
        report.compute.update.multiplications for report in (plain, moving, nesterov)
    ]
    assert multiplications == [1010, 3030, 3030]
    assert moving.space.optimizer_state_bytes == 4 * 1010
    assert moving.workload.optimizer.text == "sgd momentum 0.9 weight_decay 0.0001"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "sdg"}, "no optimizer is called 'sdg'"),
        ({"train": "adam", "momentum": 0.9}, "adam has no momentum"),
        ({"train": "sgd", "nesterov": True}, "nesterov needs a momentum"),
        ({"momentum": 0.9}, "momentum without an optimizer"),
        ({"nesterov": True, "weight_decay": 0.1}, "nesterov and weight_decay without an optimizer"),
        ({"dtype": "float33"}, "no dtype is called 'float33'"),
        ({"batch": 0}, "the batch has 0, and a size is at least 1"),
        ({"batch": 2.0}, "the batch has 2.0, which is not a whole number"),
        ({"dataset": -1}, "the dataset has -1"),
        ({"loss": "mse"}, "no loss is called 'mse'"),
        ({"learning_rule": "week"}, "no learning rule is called 'week'"),
        ({"convention": "flops"}, "no convention is called 'flops'"),
        ({"precison": "bf16"}, "no setting is called 'precison'"),
        ({"implementation": "fused"}, "implementation without an optimizer"),
        (
            {"precision": "amp-bf16", "dtype": "float64"},
            "amp-bf16 keeps parameters in float32, and the dtype is float64",
        ),
        (
            {"checkpointing": "blocks", "train": "sgd"},
            "no module with parts occurs twice in lenet5",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        weighbridge.weigh("lenet5", **settings)


def test_every_keyword_reaches_the_workload():
    report = weighbridge.weigh(
        "lenet5", batch=2, train="sgd", accumulate=3, trained=["fc3"], precision="tf32", learning_rule="epoch"
    )  # fmt: skip
    workload = report.workload
    assert (workload.accumulation, workload.trained, workload.precision) == (3, ("fc3",), "tf32")
    assert report.to_dict()["workload"]["accumulation"] == 3
    assert "training, sgd, tf32, 3 batches an update, only fc3" in " ".join(str(report).split())


def test_repeated_blocks_are_checkpointed():
    plain = weighbridge.weigh("gpt2", batch=1, train="sgd")
    again = weighbridge.weigh("gpt2", batch=1, train="sgd", checkpointing="blocks")
    assert again.compute.forward == plain.compute.forward
    assert again.compute.backward.macs > plain.compute.backward.macs
    assert timeline(again.program).peak.bytes < timeline(plain.program).peak.bytes
    assert again.warnings[-1].startswith("checkpointed: 12 blocks of class ")


def test_strict_refuses_what_is_not_whole():
    from dataclasses import replace

    program = zoo.read("lenet5", Workload())
    unknown = replace(
        program,
        ops=tuple(replace(op, kind="mystery") if op.kind == "relu" else op for op in program.ops),
    )
    assert len(weighbridge.weigh(unknown).uncounted) == 1
    # LeNet-5 in the zoo has a relu after each of its two convolutions and two hidden layers.
    with pytest.raises(StrictError, match=r"4 operators not counted: mystery \(4 times\)"):
        weighbridge.weigh(unknown, strict=True)
    assert weighbridge.weigh(program, strict=True).uncounted == ()


def test_notation_points_at_the_place():
    with pytest.raises(NotationError) as caught:
        weighbridge.weigh("(Input)(3,32,32)->(Conf)6c5w1s0p")
    assert any(hint.strip() == "^" for hint in caught.value.hints)


# -- what comes out ------------------------------------------------------------------------------


def test_a_report_answers_questions():
    report = weighbridge.weigh("resnet18", batch=2, train="sgd")
    # 2 x 1,814,073,344 (PyTorch's test of its flop counter)
    assert report.compute.forward.macs == 3628146688
    assert report.parameters.total == 11689512  # torchvision's meta['num_params']
    assert report.space.gradient_bytes == 4 * 11689512
    assert report.network == "resnet18"
    assert report.warnings == ()
    assert sum(layer.params for layer in report.layers(depth=1)) == 11689512
    assert next(iter(report.by_operator("forward"))) == "convolution"
    # 20 convolutions in the paper's 18 layers: 17, and 3 projections
    assert report.by_operator("forward")["convolution"][0] == 20


def test_resnet18_forward_and_backward_is_what_pytorch_counts():
    report = weighbridge.weigh("resnet18", train="sgd", input_gradient=True)
    # torch/test/test_flop_counter.py
    assert report.compute.forward.flops + report.compute.backward.flops == 10884440064


def test_a_report_prints_as_its_table():
    report = weighbridge.weigh("lenet5")
    assert str(report) == report.screen()
    assert repr(report).startswith("<weighbridge.Report of lenet5: ")
    shown = []
    printer = type("Printer", (), {"text": staticmethod(shown.append)})
    report._repr_pretty_(printer, False)
    report._repr_pretty_(printer, True)
    assert shown == [str(report), "<weighbridge.Report>"]


@pytest.mark.parametrize("suffix", [".json", ".csv", ".md", ".tex", ".html", ".txt", ".JSON"])
def test_saving_takes_the_form_of_the_suffix(tmp_path, suffix):
    report = weighbridge.weigh("lenet5")
    path = tmp_path / f"out{suffix}"
    report.save(path)
    content = path.read_text(encoding="utf-8")
    begins = {
        ".json": report.to_json(), ".csv": report.to_csv(), ".md": report.to_markdown(),
        ".tex": report.to_latex(), ".html": report.page(), ".txt": f"{report}\n",
    }  # fmt: skip
    assert content == begins[suffix.lower()]
    assert content.endswith("\n")


def test_saving_refuses_what_cannot_be_written(tmp_path):
    report = weighbridge.weigh("lenet5")
    with pytest.raises(
        UsageError, match=r"cannot tell the form of 'x.docx' from the suffix '.docx'"
    ):
        report.save("x.docx")
    with pytest.raises(UsageError, match="cannot tell the form of 'x' from no suffix"):
        report.save("x")
    with pytest.raises(UsageError, match=r"cannot write .*: no such file or directory"):
        report.save(tmp_path / "missing" / "x.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*: is a directory"):
        report.save(tmp_path / "folder.csv")


def test_columns_are_of_layers_and_not_of_operators():
    report = weighbridge.weigh("lenet5")
    with pytest.raises(UsageError, match="columns and formulas are of layers"):
        report.sheet(by="operator", columns=("macs",))
    with pytest.raises(UsageError, match="columns and formulas are of layers"):
        report.to_csv(by="operator", formulas=True)
    assert report.to_csv(by="operator").startswith("operator,family,runs,MACs of the step,")


def test_a_dataframe_has_a_row_a_layer():
    pytest.importorskip("pandas")
    frame = weighbridge.weigh("vgg16").to_dataframe(columns=("params", "macs", "share"))
    assert frame["params"].sum() == 138357544
    assert frame["MACs"].sum() == 15470264320
    assert frame["MACs"].dtype.kind == "i"
    # 512*7*7 inputs and a bias to 4096 outputs
    assert frame.loc["classifier.0", "params"] == (512 * 7 * 7 + 1) * 4096
    assert round(frame["share (%)"].sum(), 6) == 100


def test_a_dataframe_without_pandas_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        WeighError, match="a DataFrame needs pandas, which is not installed"
    ) as caught:
        weighbridge.weigh("lenet5").to_dataframe()
    assert caught.value.hints == ("install it with: pip install 'weighbridge[dataframe]'",)


def test_json_keeps_whole_numbers_in_full():
    report = weighbridge.weigh("1000000000000 -> (fc)1000000000000", batch=10**6)
    record = json.loads(report.to_json())
    assert record["compute"]["forward"]["macs"] == 10**30


# -- more than one -------------------------------------------------------------------------------


def test_comparing_takes_the_settings_of_weighing(tmp_path):
    report = weighbridge.compare(["vgg16", "resnet18"], (3, 64, 64), batch=4)
    assert [network.batch for network in report.comparison.networks] == [4, 4]
    assert repr(report) == "<weighbridge.ComparisonReport of vgg16, resnet18>"
    assert "Deeper need not mean heavier" in report._repr_html_()
    record = report.to_dict()
    assert [entry["network"] for entry in record["networks"]] == ["vgg16", "resnet18"]
    assert json.loads(report.to_json()) == record
    report.save(tmp_path / "c.csv", by="module")
    assert (tmp_path / "c.csv").read_text().startswith("module,kind,params,MACs\nvgg16.features,")
    report.save(tmp_path / "c.txt")
    assert (tmp_path / "c.txt").read_text() == f"{report}\n"
    report.save(tmp_path / "c.md")
    assert "Deeper need not mean heavier" in (tmp_path / "c.md").read_text()
    report.save(tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == record


def test_a_comparison_is_a_dataframe_too():
    pytest.importorskip("pandas")
    frame = weighbridge.compare(["vgg16", "resnet18"]).to_dataframe()
    assert list(frame["params"]) == [138357544, 11689512]


def test_a_comparison_by_what_it_has_no_rows_of_is_refused():
    with pytest.raises(UsageError, match="no row is called 'layer'"):
        weighbridge.compare(["lenet5"]).sheet("layer")


def test_comparing_nothing_is_refused():
    with pytest.raises(UsageError, match="nothing to compare"):
        weighbridge.compare([])


def test_papers_are_found_by_name():
    report = weighbridge.paper("resnet")
    assert "11.3" in str(report)  # ResNet-152's published FLOPs x 10^9
    assert json.loads(report.to_json()) == report.to_dict()
    with pytest.raises(UsageError, match="no paper is called 'resent'") as caught:
        weighbridge.paper("resent")
    assert caught.value.hints[0].startswith("nearest: resnet")


def test_networks_are_listed_by_frontend():
    assert "vgg16" in weighbridge.networks("zoo")["zoo"]
    with pytest.raises(UsageError, match="no frontend is called 'zo'"):
        weighbridge.networks("zo")


def test_operators_are_listed():
    assert {"convolution", "matmul", "attention"} <= {rule.kind for rule in weighbridge.operators()}


def test_a_callable_without_pytorch_is_told(monkeypatch):
    from weighbridge import network

    monkeypatch.setattr(network, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="PyTorch is not installed") as caught:
        weighbridge.weigh(lambda x: x, (3,))
    assert caught.value.hints == ("try: pip install 'weighbridge[torch]'",)


# -- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.torch
def test_a_module_is_weighed_and_left_alone():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 5), torch.nn.Flatten(), torch.nn.Linear(6 * 4 * 4, 2)
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = weighbridge.weigh(model, (3, 8, 8), batch=2)
    # 2 * (3*5*5 * 4*4 * 6 + 96*2) MACs; (3*5*5 + 1) * 6 + (96 + 1) * 2 parameters
    assert report.compute.forward.macs == 2 * (75 * 16 * 6 + 96 * 2)
    assert report.parameters.total == 76 * 6 + 97 * 2
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert report.network == "Sequential"


@pytest.mark.torch
def test_a_class_is_not_a_network():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="Linear is a class, and a network is wanted"):
        weighbridge.weigh(torch.nn.Linear)


@pytest.mark.torch
def test_a_name_goes_to_the_first_that_has_it():
    pytest.importorskip("torchvision")
    assert weighbridge.weigh("resnet18").to_dict()["network"]["frontend"] == "zoo"
    assert weighbridge.weigh("squeezenet1_1").to_dict()["network"]["frontend"] == "torchvision"
    traced = weighbridge.weigh("torchvision:resnet18")
    assert traced.source == "torchvision:resnet18"
    assert traced.compute.forward.macs == 1814073344
