"""Inputs: what a transformers network's forward takes, in the sizes that its configuration names.

What is fed is what the network needs: its main input, whatever forward has no default for, the decoder's
tokens where there is a decoder, and both sides of a network that compares a text with something else.
Where text alone runs, images and sounds are left out. Each argument's shape is made of a few sizes (the
length of a sequence, the image, the frames of a film, the samples of a sound); a size is the one asked
for, else the configuration's, else a usual one, of which a remark tells.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...dims import Shape
from ...errors import UsageError, nearest
from ...workload import InputSpec, Workload
from .configurations import Config, found, parts
from .packed import packed, projection
from .sizes import SIZES, Sizes, parameters_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PATCHES = 2048
"""Patches of a page for networks that cut it up beforehand (Lee et al. 2023, Pix2Struct); two numbers of each
say where it lies."""


def _pixels(sizes: Sizes) -> Shape:
    """An image, the images of a film, or the two that a network matches with each other."""
    if sizes.config.model_type in _PAIRS:
        return (2, *sizes.image())
    if sizes.config.model_type == "idefics":  # the images of a text
        return (1, *sizes.image())
    if sizes.has("max_num_tiles", "max_aspect_ratio_id"):  # Llama 3.2 cuts an image into tiles
        return (1, sizes.width("max_num_tiles"), *sizes.image())
    if sizes.config.model_type == "seggpt":  # which puts an image under its prompt
        channels, height, width = sizes.image()
        return (channels, height // 2, width)
    if sizes.config.model_type == "molmo2_vision":
        return _cut_up(sizes)
    if sizes.config.model_type == "inkling_vision":  # a single patch of a film (t, p, p, C)
        side = sizes.width("patch_size")
        return (sizes.width("temporal_patch_size"), side, side, sizes.width("num_channels"))
    if any(getattr(part, "num_frames", None) for part in parts(sizes.config)):
        return (sizes.frames(), *sizes.image())
    return sizes.image()


def _cut_up(sizes: Sizes) -> Shape:
    """Patches of an image that was cut up beforehand (P, p p C), where no table says how."""
    channels, height, width = sizes.image()
    patch = sizes.width("patch_size")
    return ((height // patch) * (width // patch), patch * patch * channels)


def _film(sizes: Sizes) -> Shape:
    return (sizes.frames(), *sizes.image())


def _spectrogram(sizes: Sizes) -> Shape:
    """Spectra of sound in the layout of the network's family."""
    if sizes.has("input_feat_per_channel"):  # Speech2Text: (T, F)
        return (sizes.spectra(), sizes.width("input_feat_per_channel"))
    if sizes.has("n_window", "num_mel_bins"):  # Qwen3-ASR: (F, T), in windows
        window = 2 * sizes.width("n_window")
        return (sizes.width("num_mel_bins"), -(-sizes.spectra() // window) * window)
    if sizes.config.model_type == "gemma4_audio":  # (T, F), and F is nowhere configured
        return (sizes.spectra(), 128)
    if sizes.has("feature_projection_input_dim"):  # Wav2Vec2-BERT, SeamlessM4T: (T, F)
        return (sizes.spectra(), sizes.width("feature_projection_input_dim"))
    if sizes.has(
        "spec_size"
    ):  # CLAP: (1, T, F), four spectra in a row of the image it makes of them
        bins = sizes.width("num_mel_bins")
        size = sizes.width("spec_size")
        return (1, sizes.spectra(size * size // bins), bins)
    if sizes.has("num_mel_attn_blocks"):  # CLVP: (F, T)
        return (sizes.width("feature_size"), sizes.spectra())
    first = projection(sizes.model)
    if sizes.config.model_type.startswith("nemotron3"):  # (T, F), put side by side later on
        return (sizes.spectra(), sizes.width("num_mel_bins"))
    if type(first).__name__ == "Linear":  # (T, F), also where F is of several spectra side by side
        return (sizes.spectra(), first.in_features)
    bins = sizes.width("input_dim", "num_mel_bins", "input_feat_size", "input_size", "hidden_size")
    if _reads_channels(sizes.model, bins):  # Whisper and its like: (F, T), halved by a convolution
        places = sizes.number("max_source_positions")
        return (bins, sizes.spectra(None if places is None else 2 * places))
    return (sizes.spectra(), bins)


def _reads_channels(model: nn.Module, bins: int) -> bool:
    """Whether a convolution along time takes the bins of a spectrum for its channels."""
    from torch import nn

    return any(
        isinstance(module, nn.Conv1d) and module.in_channels == bins
        for name, module in model.named_modules()
        if name.endswith("conv1")
    )


def _sound(sizes: Sizes) -> Shape:
    """Sound: samples, samples of a channel for codecs, or spectra (T, F)."""
    if sizes.has("num_mel_bins", "frequency_stride"):  # the audio spectrogram transformer
        return (sizes.spectra(sizes.width("max_length")), sizes.width("num_mel_bins"))
    if sizes.has("speech_decoder_prenet_layers"):  # SpeechT5 without its prenet: (T, H)
        return (sizes.spectra(), sizes.width("hidden_size"))
    if sizes.config.model_type in _CHANNEL_FIRST:
        return (1, sizes.samples())
    if any(sizes.has(codec) for codec in ("codebook_size", "codebook_dim", "audio_channels")):
        return (1, sizes.samples())
    return (sizes.samples(),)


def _anything(sizes: Sizes) -> Shape:
    """Perceiver's input: what its preprocessor reads, or vectors where it has none; a sound to be written down."""
    if sizes.config.model_type == "speech-encoder-decoder":
        return (sizes.samples(),)
    preprocessor = type(getattr(sizes.model, "input_preprocessor", None)).__name__
    if "Text" in preprocessor:
        return (sizes.tokens(),)
    if "Image" in preprocessor:
        return sizes.image()
    return (sizes.tokens(), sizes.width("d_model"))


def _past(sizes: Sizes) -> Shape:
    """A time series up to now: (T,), or (T, channels)."""
    steps = sizes.width("context_length") + max(found(sizes.config, "lags_sequence") or [0])
    channels = sizes.number("num_input_channels")
    return (steps,) if channels is None else (steps, channels)


def _along_past(name: str) -> Callable[[Sizes], Shape]:
    return lambda sizes: (_past(sizes)[0], sizes.width(name))


def _tokens(sizes: Sizes) -> Shape:
    return (sizes.tokens(),)


def _text(sizes: Sizes) -> Shape:
    """Tokens, or in decoders of sound the codes of every moment."""
    kind = sizes.config.model_type
    if kind in _CODEBOOKS_FIRST:  # Musicgen: (codebooks, T)
        return (sizes.width("num_codebooks"), sizes.tokens())
    if kind == "dia_decoder":
        return (sizes.tokens(), sizes.width("num_channels"))
    if sizes.has("codebook_vocab_size"):  # Kyutai's: a text and the codes of a sound, side by side
        return (sizes.tokens(), sizes.width("num_codebooks") + 1)
    return (sizes.tokens(),)


def _written(sizes: Sizes) -> Shape:
    """What the decoder is given: tokens, or the codes of every moment."""
    if sizes.config.model_type.startswith("musicgen"):
        return (sizes.width("num_codebooks"), sizes.targets())
    if sizes.has("delay_pattern"):  # Dia's codes
        return (sizes.targets(), sizes.width("num_channels"))
    return (sizes.targets(),)


def _hidden(sizes: Sizes) -> Shape:
    """What a part of a network is given: vectors, spectra, a sound, or of a backbone the image."""
    kind = sizes.config.model_type
    if kind == "phi4_multimodal_audio":
        return (sizes.spectra(), sizes.width("input_size"))
    if kind == "vibevoice_acoustic_tokenizer_encoder":
        return (1, sizes.samples())
    if kind == "vibevoice_acoustic_tokenizer_decoder":  # (C, T)
        return (projection(sizes.model).in_channels, sizes.spectra())
    if sizes.has("hidden_size"):
        return _vectors("input_dim", "hidden_size")(sizes)
    return sizes.image()


def _vectors(*names: str) -> Callable[[Sizes], Shape]:
    """A vector of the configuration's width for every token."""
    return lambda sizes: (sizes.tokens(), sizes.width(*names))


_SHAPES: Mapping[str, Callable[[Sizes], Shape]] = {
    "input_ids": _text,
    "attention_mask": _tokens,
    "decoder_input_ids": _written,
    "qformer_input_ids": _tokens,
    "token_type_ids": _tokens,
    "bbox": lambda sizes: (sizes.tokens(), 4),
    "inputs_embeds": _vectors("hidden_size"),
    "hidden_states": _hidden,
    "mask": lambda sizes: (sizes.spectra(),),
    "query_embeds": lambda sizes: (
        sizes.number("num_query_tokens") or 32, sizes.width("hidden_size"),
    ),
    "encoder_hidden_states": lambda sizes: (
        sizes.tokens(), sizes.width("encoder_hidden_size", "cross_attention_hidden_size", "cross_hidden_size"),
    ),
    "pixel_values": _pixels,
    "image": lambda sizes: sizes.image(),
    "pixel_values_videos": _film,
    "input_features": _spectrogram,
    "audio_mel": _spectrogram,
    "audio_input_ids": lambda sizes: (sizes.spectra(), sizes.width("n_mel_bins", "num_mel_bins")),
    "audio_mel_mask": lambda sizes: (sizes.spectra(),),
    "input_features_mask": lambda sizes: (max(_spectrogram(sizes)),),
    "prompt_pixel_values": _pixels,
    "prompt_masks": _pixels,
    "past_values_padding": lambda sizes: _past(sizes),
    "freq": lambda sizes: (1,),
    "latents": lambda sizes: (sizes.width("hidden_size"), sizes.spectra()),
    "task_inputs": lambda sizes: (sizes.width("task_seq_len"),),
    "aspect_ratio_ids": lambda sizes: (1,),
    "aspect_ratio_mask": lambda sizes: (1, sizes.width("max_num_tiles")),
    "image_attention_mask": lambda sizes: (sizes.tokens(), 1),
    "context": _vectors("hidden_size"),
    "noise_embeds": _vectors("hidden_size"),
    "context_hidden_states": lambda sizes: (
        sizes.tokens(), projection(sizes.model, within="encoder").in_features,
    ),
    "input_values": _sound,
    "audio_values": _sound,
    "decoder_input_values": lambda sizes: (sizes.targets(), sizes.width("hidden_size")),
    "spectrogram": lambda sizes: (sizes.spectra(), sizes.width("model_in_dim")),
    "mel_spectrogram": lambda sizes: (sizes.width("mel_dim"), sizes.spectra()),
    "flattened_patches": lambda sizes: (PATCHES, 2 + sizes.width("patch_embed_hidden_size")),
    "visual_feats": lambda sizes: (36, sizes.width("visual_feat_dim")),
    "visual_pos": lambda sizes: (36, sizes.width("visual_pos_dim")),
    "inputs": _anything,
    "states": _vectors("state_dim"),
    "actions": _vectors("act_dim"),
    "rewards": lambda sizes: (sizes.tokens(), 1),
    "returns_to_go": lambda sizes: (sizes.tokens(), 1),
    "timesteps": _tokens,
    "past_values": _past,
    "past_observed_mask": _past,
    "past_time_features": _along_past("num_time_features"),
    "future_values": lambda sizes: (sizes.width("prediction_length"),),
    "future_time_features": lambda sizes: (
        sizes.width("prediction_length"), sizes.width("num_time_features"),
    ),
}  # fmt: skip
"""The shape of each argument of forward that is known, without the batch axis."""

_INTEGERS = frozenset({
    "aspect_ratio_mask", "attention_mask", "bbox", "freq", "image_attention_mask", "past_values_padding",
    "timesteps",
})  # fmt: skip
"""Arguments that are whole numbers though they are not called `..._ids`."""

_FRACTIONS = frozenset({("speech-encoder-decoder", "inputs"), ("udop", "bbox")})
"""Types of networks, and arguments that are no whole numbers there: samples, and places from 0 to 1."""

_BOOLEANS = frozenset({"audio_mel_mask", "input_features_mask", "mask", "past_observed_mask"})
"""Arguments that are true or false."""

_CODEBOOKS_FIRST = frozenset({"musicgen_decoder", "musicgen_melody_decoder"})
"""Types whose tokens are codes, one line for each codebook."""

_CHANNEL_FIRST = frozenset({"neucodec", "vibevoice_acoustic_tokenizer", "xcodec2"})
"""Types that take sound as samples of a channel, of which their configuration does not tell."""

_PAIRS = frozenset({"efficientloftr", "lightglue", "superglue"})
"""Types of networks that find the same points in two images."""

_COMPARED = ("input_ids", "pixel_values", "pixel_values_videos", "input_features", "input_values")
"""What networks take that compare a text with something else."""

_FED: Mapping[str, tuple[str, ...]] = {
    "audioflamingo3_encoder": ("input_features", "input_features_mask"),
    "bridgetower": ("input_ids", "pixel_values"),
    "bros": ("input_ids", "bbox"),
    "blip_2_qformer": ("query_embeds", "encoder_hidden_states"),
    "decision_transformer": (
        "states", "actions", "rewards", "returns_to_go", "timesteps", "attention_mask",
    ),
    "dia_decoder": ("input_ids", "encoder_hidden_states"),
    "idefics": ("input_ids", "pixel_values", "image_attention_mask"),
    "instructblip_qformer": ("input_ids", "query_embeds", "encoder_hidden_states"),
    "instructblipvideo_qformer": ("input_ids", "query_embeds", "encoder_hidden_states"),
    "kosmos-2": ("input_ids",),
    "kosmos-2.5": ("input_ids",),
    "lxmert": ("input_ids", "visual_feats", "visual_pos"),
    "pe_audio_video": ("input_ids", "pixel_values_videos", "input_values"),
    "pe_audio_video_encoder": ("pixel_values_videos", "input_values"),
    "qwen3_omni_moe_talker_code_predictor": ("inputs_embeds",),
    "sam3": ("input_ids", "pixel_values"),
    "tvp": ("input_ids", "pixel_values"),
    "udop": ("input_ids", "bbox", "decoder_input_ids"),
    "vilt": ("input_ids", "pixel_values"),
}  # fmt: skip
"""What networks are fed whose forward does not tell, by type: arguments that it only says are optional."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What a network is fed: the workload that says so, and remarks on the sizes that were chosen here.

    `examples` are forward's arguments where shapes alone do not tell them; None where they do.
    """

    workload: Workload
    remarks: tuple[str, ...] = ()
    examples: Mapping[str, object] | None = None


def fed(model: nn.Module, config: Config, workload: Workload, source: str) -> Fed:
    """What the network is fed.

    A single input without a name is the main one, or where it has a single axis, the main one's length.

    Raises:
        UsageError: an input is given that forward does not have, or one is not given that it needs and
            nothing is known about.
    """
    given = _named(model, workload.inputs)
    if given is None:
        return Fed(workload=workload)
    names = parameters_of(model)
    asked = {name: spec.shape for name, spec in given.items() if _is_size(name, spec, names)}
    tensors = {name: spec for name, spec in given.items() if name not in asked}
    unknown = [name for name in tensors if name not in names]
    if unknown:
        near = nearest(unknown[0], (*names, *SIZES))
        raise UsageError(
            f"{type(model).__name__} has no input called {unknown[0]!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
            f"its forward takes ({', '.join(names)})",
            f"sizes by name: {', '.join(SIZES)}",
        )
    sizes = Sizes(model, config, asked, main=main_input(model))
    valued = packed(sizes, names, workload.batch, workload.dtype)
    settled = [name for name in tensors if name in valued]
    if settled:
        raise UsageError(
            f"{settled[0]} has values that a shape does not tell, and that follow from a size",
            "give that: --input image=448, or --input audio=1000 for sounds",
        )
    specs = {
        name: _typed(tensors[name]) if name in tensors else _made(name, sizes, source)
        for name in dict.fromkeys((*_needed(model, config, names), *tensors))
        if name not in valued
    }
    sizes.check_used()
    remarks = tuple(sizes.remarks.values())
    if not valued:
        return Fed(workload=replace(workload, inputs=tuple(specs.values())), remarks=remarks)
    one = packed(sizes, names, 1, workload.dtype)
    inputs = (*(_spec(name, tensor) for name, tensor in one.items()), *specs.values())
    return Fed(
        workload=replace(workload, inputs=inputs), remarks=remarks, examples={**valued, **specs}
    )


def _spec(name: str, tensor: Tensor) -> InputSpec:
    """A packed argument of a single sample in the words of a workload, which has no batch axis."""
    shape = tuple(tensor.shape)
    return InputSpec(
        shape=shape[1:] if shape[0] == 1 else shape,
        dtype=str(tensor.dtype).removeprefix("torch."),
        name=name,
    )


def main_input(model: nn.Module) -> str:
    """The argument of forward that carries what the network is about."""
    names = parameters_of(model)
    said = getattr(model, "main_input_name", "input_ids")
    known = (name for name in names if name in _SHAPES)
    for name in (said,) if isinstance(said, str) else tuple(said):
        if name in names:
            return str(name)
    return next(known, names[0] if names else "input_ids")


def _named(model: nn.Module, given: tuple[InputSpec, ...]) -> dict[str, InputSpec] | None:
    """The given inputs by name; None where they are given by their place in forward."""
    bare = [spec for spec in given if spec.name is None]
    if len(bare) > 1:
        return None
    named = {spec.name: spec for spec in given if spec.name is not None}
    for spec in bare:
        main = main_input(model)
        name = _LENGTH_OF.get(main, main) if len(spec.shape) == 1 else main
        named[name] = replace(spec, name=name)
    return named


_LENGTH_OF: Mapping[str, str] = {
    "input_ids": "seq",
    "inputs": "seq",
    "states": "seq",
    "pixel_values": "image",
    "pixel_values_videos": "image",
    "input_features": "audio",
    "input_values": "audio",
}
"""The size that a single number stands for, by what the network is about."""


def _is_size(name: str, spec: InputSpec, names: tuple[str, ...]) -> bool:
    return name in SIZES and (name not in names or len(spec.shape) == 1)


def _needed(model: nn.Module, config: Config, names: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments that forward must be given."""
    listed = _FED.get(config.model_type)
    if listed is not None and set(listed) <= set(names):
        return listed
    parameters = inspect.signature(model.forward).parameters
    needed = {main_input(model)}
    needed |= {name for name in names if parameters[name].default is inspect.Parameter.empty}
    if hasattr(model, "get_text_features"):
        needed |= {name for name in _COMPARED if name in names}
    if getattr(config, "is_encoder_decoder", False) or "input_ids" not in needed:
        needed |= {"decoder_input_ids", "decoder_input_values"} & set(names)
    return tuple(name for name in names if name in needed)


def _made(name: str, sizes: Sizes, source: str) -> InputSpec:
    shape = _SHAPES.get(name)
    if shape is None:
        raise UsageError(
            f"no shape is known for {name}, which {type(sizes.model).__name__} needs ({source})",
            f"its forward takes ({', '.join(parameters_of(sizes.model))})",
            f"give it by name, without the batch axis: --input {name}=3,224,224",
        )
    spec = InputSpec(shape=tuple(int(size) for size in shape(sizes)), name=name)
    if (sizes.config.model_type, name) in _FRACTIONS:
        return spec
    return _typed(spec)


def _typed(spec: InputSpec) -> InputSpec:
    """The input with whole numbers where its name says so and nobody said otherwise."""
    assert spec.name is not None
    whole = spec.name.endswith("_ids") or spec.name in _INTEGERS
    if spec.name == "inputs":
        whole = len(spec.shape) == 1
    if spec.dtype is not None or not (whole or spec.name in _BOOLEANS):
        return spec
    return replace(spec, dtype="int64" if whole else "bool")
