"""Packed inputs of transformers: what is made up of patches and tables, and what is counted of them, by hand."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.errors import UsageError  # noqa: E402
from weighbridge.frontends import hf  # noqa: E402
from weighbridge.frontends.hf.packed import packed  # noqa: E402
from weighbridge.frontends.hf.sizes import Sizes, parameters_of  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def read(tmp_path):
    """Writes a configuration to disk and reads the network back from it."""

    def written(config, image=None, **settings):
        config.save_pretrained(tmp_path)
        given = () if image is None else (InputSpec(shape=image, name="image"),)
        return hf.read(str(tmp_path), Workload(inputs=given, **settings))

    return written


def qwen2_vl(**more):
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

    return Qwen2VLVisionConfig(
        depth=2, embed_dim=32, hidden_size=48, mlp_ratio=4, num_heads=2, patch_size=14, **more
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_qwen2_vl_reads_patches_and_a_table(read, batch):
    program = read(qwen2_vl(), image=(56, 84), batch=batch)
    # 56 / 14 = 4 rows and 84 / 14 = 6 columns of patches; each of 3 colours, 2 frames and 14 x 14 places
    P, numbers = 4 * 6, 3 * 2 * 14 * 14
    assert [(t.name, t.shape) for t in program.inputs] == [
        ("hidden_states", (batch * P, numbers)), ("grid_thw", (batch, 3)),
    ]  # fmt: skip
    # known values, and no data
    assert (program.rung, program.warnings) == ("meta", ())
    # a block: 3 E x E and E x E around attention, E x 4E and 4E x E; each image attends to itself alone
    E, out = 32, 48
    block = P * (4 * E * E + 8 * E * E) + 2 * P * P * E
    # four patches are put side by side, and brought to the width of the text
    merger = P // 4 * ((4 * E) ** 2 + 4 * E * out)
    macs = compute(program).forward.macs
    assert macs == batch * (P * numbers * E + 2 * block + merger)
    assert program.workload.batch == batch
    assert [(spec.name, spec.shape) for spec in program.workload.inputs] == [
        ("hidden_states", (P, numbers)), ("grid_thw", (3,)),
    ]  # fmt: skip


def test_the_usual_image_and_a_training_step(read):
    program = read(qwen2_vl(), mode="training")
    # 224 is a multiple of 2 x 14
    assert program.inputs[0].shape == (16 * 16, 1176)
    assert program.warnings == ("images of 224 x 224; another size: --input image=448",)
    assert program.rung == "meta"
    assert compute(program).backward.macs > 0


def test_patches_in_the_dtype_of_the_weights(read):
    program = read(qwen2_vl(), image=(28, 28), dtype="bfloat16")
    assert [t.dtype for t in program.inputs] == ["bfloat16", "int64"]


def test_an_image_that_is_not_cut_evenly(read):
    with pytest.raises(UsageError) as caught:
        read(qwen2_vl(), image=(60, 56))
    assert str(caught.value) == (
        "an image of 60 x 56 is not cut into patches evenly: this network takes sides that are multiples of 28\n"
        "  try: --input image=84"
    )


def test_a_table_given_by_hand(tmp_path):
    qwen2_vl().save_pretrained(tmp_path)
    given = (InputSpec(shape=(3,), name="grid_thw"),)
    with pytest.raises(UsageError) as caught:
        hf.read(str(tmp_path), Workload(inputs=given))
    assert str(caught.value) == (
        "grid_thw has values that a shape does not tell, and that follow from a size\n"
        "  give that: --input image=448, or --input audio=1000 for sounds"
    )


def values(kind, config, **asked):
    """The packed arguments of two samples."""
    with torch.device("meta"):
        model = kind(config)
    return packed(Sizes(model, config, asked), parameters_of(model), 2, "float32")


def test_gemma_4_reads_the_places_of_its_patches():
    from transformers.models.gemma4.modeling_gemma4 import Gemma4VisionConfig, Gemma4VisionModel

    config = Gemma4VisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, patch_size=4, pooling_kernel_size=2,
    )  # fmt: skip
    found = values(Gemma4VisionModel, config, image=(8, 16))
    # 2 rows of 4 patches, each of 3 x 4 x 4 numbers, named by column and row
    assert found["pixel_values"].shape == (2, 8, 48)
    one = [[0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [1, 1], [2, 1], [3, 1]]
    assert found["pixel_position_ids"].tolist() == [one, one]


def test_minicpm_reads_all_patches_as_one_low_image():
    from transformers.models.minicpmv4_6.modeling_minicpmv4_6 import (
        MiniCPMV4_6VisionConfig,
        MiniCPMV4_6VisionModel,
    )

    config = MiniCPMV4_6VisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=14,
    )  # fmt: skip
    side = 14 * 4
    found = values(MiniCPMV4_6VisionModel, config, image=(side, 2 * side))
    # two images of 4 x 8 patches, 14 wide
    assert found["pixel_values"].shape == (1, 3, 14, 2 * 32 * 14)
    assert found["target_sizes"].tolist() == [[4, 8], [4, 8]]


def test_sounds_end_to_end():
    from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (
        Qwen2_5OmniAudioEncoder,
        Qwen2_5OmniAudioEncoderConfig,
    )

    config = Qwen2_5OmniAudioEncoderConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=16,
        output_dim=32,
    )  # fmt: skip
    found = values(Qwen2_5OmniAudioEncoder, config, audio=(300,))
    assert found["input_features"].shape == (16, 600)
    assert found["feature_lens"].tolist() == [300, 300]
    assert {value.device.type for value in found.values()} == {"meta", "cpu"}
