"""The networks of a survey: their names, what is documented of them, and default configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from weighbridge.errors import WeighError

Mode = Literal["inference", "training"]

SURVEYS: tuple[tuple[str, Mode], ...] = (
    ("torchvision", "inference"),
    ("timm", "inference"),
    ("hf", "inference"),
    ("torchvision", "training"),
    ("hf", "training"),
)
"""Every survey: a frontend, and what its networks do."""

TRAINED = (
    "albert", "aria_text", "bart", "beit", "bert", "bigbird_pegasus", "blenderbot-small", "bloom", "camembert", "clap",
    "clip", "codegen", "cohere", "conditional_detr", "convbert", "convnext", "data2vec-text", "deberta-v2", "deit",
    "detr", "dinov2", "distilbert", "electra", "ernie", "falcon", "fnet", "focalnet", "gemma", "gemma2", "gpt2",
    "gpt_neo", "gpt_neox", "gptj", "granite", "groupvit", "layoutlm", "led", "llama", "longformer", "mamba", "mbart",
    "mistral", "mixtral", "mobilenet_v2", "mobilevit", "mpnet", "mpt", "mt5", "olmo2", "olmoe", "opt", "owlvit",
    "pegasus", "perceiver", "phi", "phi3", "pvt", "qwen2", "qwen2_moe", "qwen3", "resnet", "roberta", "segformer",
    "siglip", "speech_to_text", "stablelm", "starcoder2", "swin", "t5", "videomae", "vit", "vit_mae", "wav2vec2",
    "whisper", "xglm", "xlnet",
)  # fmt: skip
"""The architectures of transformers whose training step is weighed: one of every family in wide use."""


def names_of(frontend: str, mode: Mode) -> tuple[str, ...]:
    """The networks of a survey: every one that the library lists, one per architecture.

    Training steps are those of torchvision's classifiers, and of TRAINED.
    """
    if frontend == "torchvision":
        from torchvision import models

        return tuple(models.list_models(models if mode == "training" else None))
    if frontend == "timm":
        from weighbridge.frontends import timm

        return timm.names()
    if mode == "training":
        return TRAINED
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return tuple(sorted(CONFIG_MAPPING_NAMES))


def documented(frontend: str, name: str) -> tuple[int | None, float | None]:
    """Parameters, and thousand millions of multiply-accumulates, that the library's documentation prints."""
    if frontend != "torchvision":
        return None, None
    from torchvision.models import get_model_weights

    weights = getattr(get_model_weights(name), "DEFAULT", None)
    meta = {} if weights is None else weights.meta
    return meta.get("num_params"), meta.get("_ops")


def default_configuration(kind: str, folder: str) -> Path:
    """The default configuration of a type of network, as a file; with the head of a language model if it has one.

    Raises:
        WeighError: it has none.
    """
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        config = CONFIG_MAPPING[kind]()
    except Exception as error:
        raise WeighError(f"no default configuration: {type(error).__name__}: {error}") from error
    heads = (
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        if getattr(config, "is_encoder_decoder", False)
        else modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    head = heads.get(kind)
    if head is not None and not config.architectures:
        config.architectures = [head] if isinstance(head, str) else [head[0]]
    config.save_pretrained(folder)
    return Path(folder) / "config.json"
