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

    def written(config, architecture=None, tokens=None, inputs=(), **settings):
        if architecture is not None:
            config.architectures = [architecture]
        config.save_pretrained(tmp_path)
        given = (InputSpec(shape=(tokens,)),) if tokens else inputs
        return hf.read(str(tmp_path), Workload(inputs=given, **settings))

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
    assert message(WeighError, tmp_path, "names code of its own") == (
        f"{tmp_path}/config.json names code of its own (auto_map), and a configuration's code is never run\n"
        "  write a Python file that builds the network: weigh net.py:build"
    )


def test_without_transformers(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setattr(hf, "find_spec", lambda _: None)
    message(UsageError, tmp_path, "transformers is not installed")


# -- one network of each family, by hand ----------------------------------------------------------------------


@pytest.mark.parametrize(("window", "T"), [(4, 10), (16, 10)])
def test_mistral_with_a_sliding_window(read, window, T):
    h, f, layers, heads, groups, V = 32, 48, 2, 4, 2, 50
    config = transformers.MistralConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, head_dim=h // heads, vocab_size=V, sliding_window=window,
    )  # fmt: skip
    program = read(config, "MistralForCausalLM", tokens=T)
    products = layers * (2 * h * h + 2 * h * groups * h // heads + 3 * h * f) + h * V
    # query i sees itself and what is before it, but no more than the window: min(i + 1, window) keys,
    # 1 + 2 + 3 + 4 and 4 for each of the other six = 34, or 1 + 2 + ... + 10 = 55 where it is wider
    pairs = {4: 34, 16: 55}[window]
    assert macs(program) == (products * T + layers * 2 * pairs * h, 0)


def test_gemma_whose_heads_are_wider_than_its_width(read):
    h, f, layers, heads, d, V, T = 32, 64, 2, 4, 16, 40, 9
    config = transformers.GemmaConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=1, head_dim=d, vocab_size=V,
    )  # fmt: skip
    program = read(config, "GemmaForCausalLM", tokens=T)
    # queries and output h x heads*d, one head of keys and values h x d; three h x f; the table is the head
    layer = 2 * h * heads * d + 2 * h * d + 3 * h * f
    assert parameters(program).total == V * h + layers * (layer + 2 * h) + h
    products = (layers * layer + h * V) * T
    assert macs(program) == (products + layers * 2 * (T * (T + 1) // 2) * heads * d, 0)


def test_qwen2_with_biases(read):
    h, f, layers, heads, groups, V, T = 32, 48, 2, 4, 2, 50, 7
    d = h // heads
    config = transformers.Qwen2Config(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, vocab_size=V, tie_word_embeddings=False,
    )  # fmt: skip
    program = read(config, "Qwen2ForCausalLM", tokens=T)
    layer = 2 * h * h + 2 * h * groups * d + 3 * h * f
    # queries, keys and values have biases
    assert parameters(program).total == (
        2 * V * h + layers * (layer + h + 2 * groups * d + 2 * h) + h
    )
    products = (layers * layer + h * V) * T
    assert macs(program) == (products + layers * 2 * (T * (T + 1) // 2) * h, 0)


@pytest.mark.parametrize("training", [False, True])
def test_mixtral_sends_every_token_to_a_few_experts(read, training):
    h, f, layers, heads, groups, experts, chosen, V, T = 32, 48, 2, 4, 2, 6, 2, 50, 8
    d = h // heads
    config = transformers.MixtralConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, head_dim=d, num_local_experts=experts, num_experts_per_tok=chosen,
        vocab_size=V,
    )  # fmt: skip
    program = read(
        config, "MixtralForCausalLM", tokens=T, mode="training" if training else "inference"
    )
    attention = 2 * h * h + 2 * h * groups * d
    expert = 3 * h * f
    # all experts are held, and a router of h x experts
    assert parameters(program).total == (
        2 * V * h + layers * (attention + h * experts + experts * expert + 2 * h) + h
    )
    # but a token meets `chosen` of them
    products = (layers * (attention + h * experts + chosen * expert) + h * V) * T
    pairs = layers * (T * (T + 1) // 2) * h
    found = compute(program)
    backward = 2 * products + 5 * pairs if training else 0
    assert (found.forward.macs, found.backward.macs) == (products + 2 * pairs, backward)
    # two grouped products a layer: gate and up side by side, and down
    grouped = [op for op in program.ops if op.kind == "grouped_matmul" and op.phase == "forward"]
    assert [op.inputs[1].shape for op in grouped] == layers * [(experts, h, 2 * f), (experts, f, h)]


def test_bart_whose_decoder_looks_at_its_encoder(read):
    h, f, layers, V, T, S = 32, 48, 2, 60, 10, 6
    config = transformers.BartConfig(
        d_model=h, encoder_ffn_dim=f, decoder_ffn_dim=f, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=4, decoder_attention_heads=4, vocab_size=V, max_position_embeddings=20,
    )  # fmt: skip
    config.architectures = ["BartForConditionalGeneration"]
    program = read(
        config, inputs=(InputSpec(shape=(T,), name="seq"), InputSpec(shape=(S,), name="target"))
    )
    assert [t.shape for t in program.inputs] == [(1, T), (1, S)]
    encoder = (4 * h * h + 2 * h * f) * T + 2 * T * T * h
    # the decoder's own attention is causal; the other reads T keys and values, made from the encoder's
    decoder = (
        (6 * h * h + 2 * h * f) * S + 2 * h * h * T + 2 * (S * (S + 1) // 2) * h + 2 * S * T * h
    )
    assert macs(program) == (layers * (encoder + decoder) + h * V * S, 0)


def test_whisper_hears_thirty_seconds(read):
    h, f, layers, V, bins, P, S = 32, 48, 2, 60, 20, 50, 12
    config = transformers.WhisperConfig(
        d_model=h, encoder_ffn_dim=f, decoder_ffn_dim=f, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=4, decoder_attention_heads=4, vocab_size=V, num_mel_bins=bins,
        max_source_positions=P, max_target_positions=20,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    program = read(
        config, "WhisperForConditionalGeneration", inputs=(InputSpec(shape=(S,), name="target"),)
    )
    # 2 P spectra go in, and a second convolution of stride 2 leaves the P positions that there are
    assert [t.shape for t in program.inputs] == [(1, bins, 2 * P), (1, S)]
    assert program.warnings == ()
    convolutions = 3 * bins * h * 2 * P + 3 * h * h * P
    encoder = (4 * h * h + 2 * h * f) * P + 2 * P * P * h
    decoder = (
        (6 * h * h + 2 * h * f) * S + 2 * h * h * P + 2 * (S * (S + 1) // 2) * h + 2 * S * P * h
    )
    assert macs(program) == (convolutions + layers * (encoder + decoder) + h * V * S, 0)


def test_clip_sees_and_reads(read):
    h, f, layers, V, side, patch, T, out = 32, 48, 2, 60, 32, 8, 7, 16
    both = {
        "hidden_size": h, "intermediate_size": f, "num_hidden_layers": layers, "num_attention_heads": 4,
        "projection_dim": out,
    }  # fmt: skip
    config = transformers.CLIPConfig(
        text_config={**both, "vocab_size": V, "max_position_embeddings": 20, "eos_token_id": 3},
        vision_config={**both, "image_size": side, "patch_size": patch},
        projection_dim=out,
    )
    program = read(config, tokens=T)
    assert [t.shape for t in program.inputs] == [(1, T), (1, 3, side, side)]
    P = (side // patch) ** 2 + 1
    text = (4 * h * h + 2 * h * f) * T + 2 * (T * (T + 1) // 2) * h
    image = (4 * h * h + 2 * h * f) * P + 2 * P * P * h
    patches = (P - 1) * 3 * patch * patch * h
    # two projections, and one text compared with one image
    assert macs(program) == (layers * (text + image) + patches + 2 * h * out + out, 0)


def test_the_image_of_detr_has_the_size_that_is_asked_for(read):
    h, f, layers, Q = 32, 48, 1, 5
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=transformers.ResNetConfig(
            embedding_size=4, hidden_sizes=[8], depths=[1], layer_type="basic", out_features=["stage1"],
        ),
        d_model=h, encoder_ffn_dim=f, decoder_ffn_dim=f, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=4, decoder_attention_heads=4, num_queries=Q, num_labels=3,
    )  # fmt: skip
    program = read(
        config, "DetrForObjectDetection", inputs=(InputSpec(shape=(32, 64), name="image"),)
    )
    assert program.inputs[0].shape == (1, 3, 32, 64)
    # 7x7 stride 2 and a pooling of stride 2: 8 x 16 places, T of them; one block of two 3x3 and a 1x1
    T = 8 * 16
    backbone = 49 * 3 * 4 * 16 * 32 + (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8) * T
    encoder = (4 * h * h + 2 * h * f) * T + 2 * T * T * h
    decoder = (6 * h * h + 2 * h * f) * Q + 2 * h * h * T + 2 * Q * Q * h + 2 * Q * T * h
    heads = (h * 4 + 2 * h * h + h * 4) * Q  # three kinds and none; a box from three layers
    found = compute(program)
    assert found.forward.macs == backbone + 8 * h * T + layers * (encoder + decoder) + heads


def test_mamba_scans_its_sequence(read):
    h, E, N, R, K, layers, V, T = 16, 32, 4, 2, 4, 2, 50, 6
    config = transformers.MambaConfig(
        hidden_size=h, expand=2, state_size=N, time_step_rank=R, conv_kernel=K, num_hidden_layers=layers,
        vocab_size=V,
    )  # fmt: skip
    program = read(config, "MambaForCausalLM", tokens=T)
    # in to twice E; a depthwise convolution, whose padding in front runs on behind and is cut off; to a
    # step's R and two states; R to E; T steps of E states of N read out; and out
    layer = (
        h * 2 * E * T
        + E * K * (T + K - 1)
        + E * (R + 2 * N) * T
        + R * E * T
        + E * N * T
        + E * h * T
    )
    assert macs(program) == (layers * layer + h * V * T, 0)


def test_layoutlm_knows_where_its_words_are(read):
    h, f, layers, V, T, P, places = 32, 48, 2, 60, 9, 20, 100
    config = transformers.LayoutLMConfig(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=4,
        vocab_size=V, max_position_embeddings=P, max_2d_position_embeddings=places,
    )  # fmt: skip
    program = read(config, "LayoutLMModel", tokens=T)
    layer = 4 * (h * h + h) + (h * f + f) + (f * h + h) + 4 * h
    # tables of x, y, heights and widths beside BERT's; the pooler reads one token
    tables = (V + P + 2 + 4 * places) * h + 2 * h
    assert parameters(program).total == tables + layers * layer + h * h + h
    expected = layers * ((4 * h * h + 2 * h * f) * T + 2 * T * T * h) + h * h
    assert macs(program) == (expected, 0)


def test_wav2vec2_hears_samples(read):
    h, f, layers, c, samples = 32, 48, 2, 8, 400
    config = transformers.Wav2Vec2Config(
        hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=4,
        conv_dim=(c, c), conv_kernel=(10, 4), conv_stride=(5, 2), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, feat_extract_norm="group",
    )  # fmt: skip
    program = read(config, "Wav2Vec2Model", inputs=(InputSpec(shape=(samples,), name="audio"),))
    first = (samples - 10) // 5 + 1
    T = (first - 4) // 2 + 1
    features = 10 * c * first + 4 * c * c * T
    # an even kernel of positions, padded by half on both sides, makes one place more, which is cut off
    positions = 4 * h * h // 2 * (T + 1)
    transformer = layers * ((4 * h * h + 2 * h * f) * T + 2 * T * T * h)
    found = compute(program)
    assert found.forward.macs == features + c * h * T + positions + transformer


def test_bert_of_t5_is_only_its_encoder(read):
    h, f, layers, heads, V, T = 32, 64, 2, 4, 60, 10
    config = transformers.T5Config(
        d_model=h, d_kv=h // heads, d_ff=f, num_layers=layers, num_heads=heads, vocab_size=V,
    )  # fmt: skip
    program = read(config, "T5EncoderModel", tokens=T)
    assert [t.name for t in program.inputs] == ["input_ids"]
    assert macs(program) == (layers * ((4 * h * h + 2 * h * f) * T + 2 * T * T * h), 0)


# -- which class, and which inputs ------------------------------------------------------------------------------


def small(kind, **more):
    return kind(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, **more
    )


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (lambda: small(transformers.CLIPTextConfig), "CLIPTextModel"),
        (lambda: small(transformers.CLIPVisionConfig, image_size=32, patch_size=16), "CLIPVisionModel"),
        # a part that transformers gives no class to: the one of its module that takes its configuration
        (lambda: small(transformers.BlipTextConfig, encoder_hidden_size=16), "BlipTextModel"),
        (lambda: small(transformers.TrOCRConfig, d_model=16, decoder_layers=1, decoder_attention_heads=2),
         "TrOCRForCausalLM"),
    ],
)  # fmt: skip
def test_the_class_of_a_part_is_found(read, config, kind):
    assert read(config()).modules[0].kind == kind


def test_a_class_that_transformers_does_not_have_is_named(read):
    config = small(transformers.BertConfig)
    program = read(config, "BertForPoetry", tokens=4)
    assert program.modules[0].kind == "BertModel"
    assert program.warnings == ("transformers has no BertForPoetry: weighed as BertModel",)


def test_a_configuration_of_nothing_that_runs(read):
    with pytest.raises(
        UsageError, match="no network for configurations of type 'sam_mask_decoder'"
    ):
        read(transformers.SamMaskDecoderConfig())


def test_a_package_that_a_network_needs(read, monkeypatch):
    from weighbridge.frontends.hf import architectures

    def missing(name):
        raise ModuleNotFoundError("No module named 'detectron2'", name="detectron2")

    monkeypatch.setattr(architectures, "import_module", missing)
    with pytest.raises(UsageError) as caught:
        read(small(transformers.BertConfig), "BertModel")
    assert str(caught.value) == (
        "networks of type 'bert' need a package that is not installed: detectron2\n"
        "  try: pip install detectron2"
    )


@pytest.mark.skipif(transformers.utils.is_natten_available(), reason="natten is installed")
def test_a_package_that_a_network_asks_for_when_it_is_built(read):
    with pytest.raises(UsageError) as caught:
        read(transformers.DinatConfig(embed_dim=8, depths=[1], num_heads=[2]))
    assert str(caught.value) == (
        "networks of type 'dinat' need a package that is not installed: natten\n"
        "  try: pip install natten"
    )


def shapes(program):
    return {t.name: t.shape[1:] for t in program.inputs}


def test_sizes_by_name(read):
    vit = small(transformers.ViTConfig, image_size=32, patch_size=16)
    given = (InputSpec(shape=(32,), name="image"),)
    assert shapes(read(vit, inputs=given)) == {"pixel_values": (3, 32, 32)}
    film = small(transformers.VideoMAEConfig, image_size=32, patch_size=16, num_frames=4)
    assert shapes(read(film)) == {"pixel_values": (4, 3, 32, 32)}
    sew = small(
        transformers.Wav2Vec2Config, conv_dim=(8,), conv_kernel=(10,), conv_stride=(5,),
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    program = read(
        sew, inputs=(InputSpec(shape=(800,)),)
    )  # one number: of what the network is about
    assert shapes(program) == {"input_values": (800,)}
    program = read(sew)
    assert shapes(program) == {"input_values": (160_000,)}
    assert program.warnings[-1].startswith("10 seconds of sound at 16,000 samples a second")


def test_an_image_of_no_known_size_is_said(read):
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[8], depths=[1])
    program = read(config)
    assert shapes(program) == {"pixel_values": (3, 224, 224)}
    assert program.warnings == ("images of 224 x 224; another size: --input image=384",)


def test_arguments_by_name_and_what_is_left_is_filled_in(read):
    config = small(transformers.BertConfig, vocab_size=30, type_vocab_size=2)
    given = (InputSpec(shape=(6,), name="seq"), InputSpec(shape=(6,), name="token_type_ids"))
    program = read(config, inputs=given)
    assert shapes(program) == {"input_ids": (6,), "token_type_ids": (6,)}
    assert {t.dtype for t in program.inputs} == {"int64"}
    embeds = (InputSpec(shape=(6,), name="input_ids", dtype="int32"),)
    assert [t.dtype for t in read(config, inputs=embeds).inputs] == ["int32"]


def test_states_actions_and_rewards(read):
    config = transformers.DecisionTransformerConfig(
        state_dim=5, act_dim=2, hidden_size=16, n_layer=1, n_head=2, max_ep_len=30
    )
    program = read(config, inputs=(InputSpec(shape=(7,), name="seq"),))
    assert shapes(program) == {
        "states": (7, 5), "actions": (7, 2), "rewards": (7, 1), "returns_to_go": (7, 1),
        "timesteps": (7,), "attention_mask": (7,),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "near"),
    [("picture", ""), ("inputs_ids", "  nearest: input_ids, inputs_embeds\n")],
)
def test_an_input_that_forward_does_not_have(read, name, near):
    given = (InputSpec(shape=(3, 8, 8), name=name),)
    with pytest.raises(UsageError) as caught:
        read(small(transformers.BertConfig), inputs=given)
    assert str(caught.value) == (
        f"BertModel has no input called '{name}'\n{near}"
        "  its forward takes (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, "
        "encoder_hidden_states, encoder_attention_mask, past_key_values, use_cache)\n"
        "  sizes by name: seq, target, image, frames, audio"
    )


def test_a_size_that_nothing_has(read):
    given = (InputSpec(shape=(16_000,), name="audio"),)
    with pytest.raises(UsageError, match="BertModel takes no input that audio is a size of"):
        read(small(transformers.BertConfig), inputs=given)


def test_an_input_of_which_nothing_is_known(read, tmp_path):
    from transformers.models.sam3.configuration_sam3 import Sam3DETRDecoderConfig

    config = Sam3DETRDecoderConfig(num_layers=1, hidden_size=16, num_attention_heads=2)
    with pytest.raises(UsageError) as caught:
        read(config)
    assert str(caught.value) == (
        f"no shape is known for vision_features, which Sam3DetrDecoder needs (hf:{tmp_path})\n"
        "  its forward takes (vision_features, text_features, vision_pos_encoding, text_mask, "
        "spatial_shapes)\n"
        "  give it by name, without the batch axis: --input vision_features=3,224,224"
    )


def test_a_width_that_the_configuration_does_not_name(read):
    config = transformers.PerceiverConfig(
        num_latents=4, d_latents=16, d_model=16, num_blocks=1, num_self_attends_per_block=1,
        num_self_attention_heads=2, num_cross_attention_heads=2,
    )  # fmt: skip
    assert shapes(read(config, tokens=6)) == {"inputs": (6, 16)}
    from weighbridge.frontends.hf.sizes import Sizes

    sizes = Sizes(torch.nn.Linear(1, 1), config, {})
    with pytest.raises(UsageError, match="configuration has no num_mel_bins and no input_dim"):
        sizes.width("num_mel_bins", "input_dim")


def test_of_several_texts_the_first_is_read_and_the_last_written():
    from weighbridge.frontends.hf.sizes import Sizes

    config = transformers.MusicgenConfig(
        text_encoder=transformers.BertConfig(max_position_embeddings=30),
        audio_encoder=transformers.EncodecConfig(),
        decoder=transformers.MusicgenDecoderConfig(max_position_embeddings=20),
    )
    model = transformers.BertModel(small(transformers.BertConfig, vocab_size=9))
    sizes = Sizes(model, config, {}, main="input_ids")
    assert sizes.tokens() == 30
    assert sizes._text(decoder=True).max_position_embeddings == 20


def test_training_drops_no_layer_and_says_so(read):
    h, f, V, T, S = 16, 24, 30, 6, 4
    config = transformers.BartConfig(
        d_model=h, encoder_ffn_dim=f, decoder_ffn_dim=f, encoder_layers=2, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, vocab_size=V, max_position_embeddings=20,
        encoder_layerdrop=0.5, dropout=0.0,
    )  # fmt: skip
    config.architectures = ["BartForConditionalGeneration"]
    given = (InputSpec(shape=(T,), name="seq"), InputSpec(shape=(S,), name="target"))
    program = read(config, inputs=given, mode="training")
    encoder = 2 * ((4 * h * h + 2 * h * f) * T + 2 * T * T * h)
    decoder = (
        (6 * h * h + 2 * h * f) * S + 2 * h * h * T + 2 * (S * (S + 1) // 2) * h + 2 * S * T * h
    )
    assert compute(program).forward.macs == encoder + decoder + h * V * S
    assert program.warnings == (
        "training drops layers at random, at rate 0.5: counted with every layer kept",
    )


def test_every_answer_is_taken_back(monkeypatch):
    from importlib import import_module

    from torch.distributions import Distribution

    from weighbridge.frontends.torch import sequences

    # PyTorch's compiler switches this off for good when anything loads it; here it is on, as without it.
    monkeypatch.setattr(Distribution, "_validate_args", True)

    def all_of_them():
        found = []
        for module, path, _ in sequences._ANSWERS:
            owner = import_module(module)
            for name in path.split("."):
                owner = getattr(owner, name)
            found.append(owner)
        return found

    before = all_of_them()
    with pytest.raises(KeyError), sequences.full_sequences():  # noqa: PT012
        assert all(now is not then for now, then in zip(all_of_them(), before, strict=True))
        raise KeyError
    assert all_of_them() == before
