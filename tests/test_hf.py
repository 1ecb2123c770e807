"""transformers by configuration: parameters and operations against closed forms worked out by hand.

Everywhere h is the width, f the width inside the feed-forward part, L the layers, T the tokens, V the
vocabulary, P the positions; a matrix product of T rows with an n x k matrix is T*n*k multiply-accumulates.
"""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from weighbridge.analyses.compute import compute, op_costs  # noqa: E402
from weighbridge.analyses.parameters import parameters  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.frontends import hf  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def read(tmp_path):
    """Writes a configuration to disk and reads the network back from it."""

    def written(config, architecture=None, tokens=None, **settings):
        if architecture is not None:
            config.architectures = [architecture]
        config.save_pretrained(tmp_path)
        inputs = (InputSpec(shape=(tokens,)),) if tokens else ()
        return hf.read(str(tmp_path), Workload(inputs=inputs, **settings))

    return written


def macs(program):
    found = compute(program)
    assert found.uncounted == ()
    return found.forward.macs, found.backward.macs


@pytest.mark.parametrize(
    ("h", "f", "layers", "heads", "V", "T"),
    [(32, 64, 2, 4, 50, 8), (768, 3072, 12, 12, 30522, 128)],
)
def test_bert(read, h, f, layers, heads, V, T):
    P = 512
    config = transformers.BertConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads,
        vocab_size=V, max_position_embeddings=P,
    )  # fmt: skip
    program = read(config, "BertForMaskedLM", tokens=T)
    # tables of tokens, positions and 2 segments, and their norm; a layer has four h x h matrices, one
    # h x f and one f x h, all with biases, and two norms; the head a matrix, a norm and V biases, its
    # other matrix being the table
    layer = 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h
    embedding = (V + P + 2) * h + 2 * h
    assert parameters(program).total == embedding + layers * layer + (h * h + h) + 2 * h + V
    # a layer: four h x h, two h x f, and T*T pairs of which each takes h for scores and h for values
    products = layers * (4 * h * h + 2 * h * f) * T + (h * h + h * V) * T
    attention = layers * 2 * T * T * h
    assert macs(program) == (products + attention, 0)
    # backward: two products for each, and five where attention had two
    training = read(config, "BertForMaskedLM", tokens=T, mode="training", batch=2)
    assert macs(training) == (
        2 * (products + attention),
        2 * (2 * products + 5 * layers * T * T * h),
    )


@pytest.mark.parametrize(
    ("h", "layers", "heads", "V", "T"), [(32, 2, 4, 50, 8), (768, 12, 12, 50257, 256)]
)
def test_gpt2(read, h, layers, heads, V, T):
    P = 1024
    config = transformers.GPT2Config(
        n_embd=h, n_layer=layers, n_head=heads, vocab_size=V, n_positions=P
    )
    program = read(config, "GPT2LMHeadModel", tokens=T)
    # a layer: h x 3h, h x h, h x 4h, 4h x h with biases 3h + h + 4h + h, and two norms
    assert parameters(program).total == (V + P) * h + layers * (12 * h * h + 13 * h) + 2 * h
    assert program.aliases == {"lm_head.weight": "transformer.wte.weight"}
    # causal: query i sees i + 1 keys, T*(T+1)/2 pairs
    products = (layers * 12 * h * h + h * V) * T
    pairs = layers * (T * (T + 1) // 2) * h
    assert macs(program) == (products + 2 * pairs, 0)
    training = read(config, "GPT2LMHeadModel", tokens=T, mode="training")
    assert macs(training) == (products + 2 * pairs, 2 * products + 5 * pairs)


def test_llama_with_grouped_queries(read):
    h, f, layers, heads, groups, V, T = 64, 160, 3, 8, 2, 100, 16
    d = h // heads
    config = transformers.LlamaConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, vocab_size=V,
    )  # fmt: skip
    program = read(config, "LlamaForCausalLM", tokens=T)
    # a layer: queries and output h x h, keys and values h x groups*d, three h x f, two norms without
    # bias; the head has a matrix of its own
    layer = 2 * h * h + 2 * h * groups * d + 3 * h * f
    assert parameters(program).total == 2 * V * h + layers * (layer + 2 * h) + h
    products = (layers * layer + h * V) * T
    pairs = layers * (T * (T + 1) // 2) * h
    # rotary positions are an outer product of d/2 frequencies and T positions, which older versions
    # run as a matrix product
    costs = zip(program.ops, op_costs(program), strict=True)
    rotary = sum(cost.macs for op, cost in costs if op.scope.endswith("rotary_emb"))
    assert rotary in (0, d // 2 * T)
    assert macs(program) == (products + 2 * pairs + rotary, 0)
    assert [len(op.inputs) for op in program.ops if op.kind == "attention"] == [3] * layers
    training = read(config, "LlamaForCausalLM", tokens=T, mode="training")
    assert macs(training) == (products + 2 * pairs + rotary, 2 * products + 5 * pairs)


def test_t5_with_two_stacks(read):
    h, inner, f, layers, heads, V, T = 32, 48, 64, 2, 4, 60, 10
    config = transformers.T5Config(
        d_model=h, d_kv=inner // heads, d_ff=f, num_layers=layers, num_heads=heads, vocab_size=V,
        dropout_rate=0.0,
    )  # fmt: skip
    program = read(config, "T5ForConditionalGeneration", tokens=T)
    assert [t.name for t in program.inputs] == ["input_ids", "decoder_input_ids"]
    # encoder layer: attention 4 h*inner, feed-forward 2 h*f, two norms; decoder layer: two attentions
    # and three norms; each stack has a table of 32 distances for every head, and a norm; one table of V
    encoder = 4 * h * inner + 2 * h * f
    decoder = 8 * h * inner + 2 * h * f
    tables = 2 * (32 * heads + h)
    assert parameters(program).total == V * h + layers * (encoder + decoder + 5 * h) + tables
    products = (layers * (encoder + decoder) + h * V) * T
    # the mask is a table with learnt distances in it, so that every pair is scored: one attention in
    # the encoder and two in the decoder
    attention = layers * 3 * 2 * T * T * inner
    assert macs(program) == (products + attention, 0)
    # in training that table needs a gradient, and the attentions that read it come apart: two products
    # for each of theirs; the cross-attention stays whole
    training = read(config, "T5ForConditionalGeneration", tokens=T, mode="training")
    apart, whole = layers * 2 * 2 * T * T * inner, layers * T * T * inner
    assert macs(training) == (products + attention, 2 * products + 2 * apart + 5 * whole)


def test_vision_transformers_take_the_image_of_their_configuration(read):
    h, f, layers, side, patch = 32, 64, 2, 32, 8
    config = transformers.ViTConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=4,
        image_size=side, patch_size=patch,
    )  # fmt: skip
    program = read(config, "ViTForImageClassification")
    assert program.inputs[0].shape == (1, 3, side, side)
    T = (side // patch) ** 2 + 1
    patches = (T - 1) * 3 * patch * patch * h
    expected = patches + layers * ((4 * h * h + 2 * h * f) * T + 2 * T * T * h) + h * 2
    assert macs(program) == (expected, 0)


def test_the_length_is_said_and_can_be_given(read):
    config = transformers.BertConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=20, max_position_embeddings=40,
    )  # fmt: skip
    program = read(config)
    assert program.inputs[0].shape == (1, 40)
    assert program.warnings == ("40 tokens a sequence; another length: --input seq=1024",)
    assert program.modules[0].kind == "BertModel"
    assert read(config, tokens=7).warnings == ()
    assert program.workload.inputs[0] == InputSpec(shape=(40,), dtype="int64", name="input_ids")


def test_the_path_of_the_file_is_as_good_as_its_folders(tmp_path):
    config = transformers.BertConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    config.save_pretrained(tmp_path)
    assert hf.knows(str(tmp_path))
    program = hf.read(str(tmp_path / "config.json"), Workload(inputs=(InputSpec(shape=(4,)),)))
    assert (program.network, program.frontend) == ("BertModel", "transformers")
    assert hf.names() == ()
    assert not hf.knows("bert-base")


def test_transformers_is_as_it_was_afterwards(read):
    from transformers import masking_utils

    before = masking_utils.find_packed_sequence_indices
    read(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9), tokens=4)
    assert masking_utils.find_packed_sequence_indices is before
    assert before.__module__ == "transformers.masking_utils"


def message(kind, path, match):
    with pytest.raises(kind, match=match) as caught:
        hf.read(str(path), Workload())
    return str(caught.value)


def test_there_is_no_configuration(tmp_path):
    text = message(UsageError, tmp_path, "there is no configuration at")
    assert "never fetched" in text


def test_configurations_that_are_none(tmp_path):
    file = tmp_path / "config.json"
    file.write_text("{")
    message(UsageError, file, "config.json is not JSON")
    file.write_text('{"hidden_size": 3}')
    message(UsageError, file, "is no configuration of transformers: it has no model_type")
    file.write_text('{"model_type": "brt"}')
    assert "nearest: bert" in message(
        UsageError, file, "transformers has no networks of type 'brt'"
    )
    file.write_text('{"model_type": "bert", "hidden_size": "wide"}')
    message(WeighError, file, "transformers does not take .*config.json")


def test_code_of_its_own_is_never_run(tmp_path):
    record = {"model_type": "bert", "auto_map": {"AutoModel": "modeling.Net"}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    (tmp_path / "modeling.py").write_text("raise SystemExit('it ran')")
    message(WeighError, tmp_path, "names code of its own")


def test_without_transformers(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setattr(hf, "find_spec", lambda _: None)
    message(UsageError, tmp_path, "transformers is not installed")
