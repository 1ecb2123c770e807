"""Sizes: what inputs are made of, as asked for, as the configuration says, or usual ones with a remark."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...dims import Shape
from ...errors import UsageError
from .configurations import Config, found, parts

if TYPE_CHECKING:
    from torch import nn

LENGTH = 512
"""Tokens in a sequence where none are asked for, or as many as the network takes if fewer."""

IMAGE = 224
"""Height and width of an image where neither is asked for and the configuration names none."""

FRAMES = 16
"""Images of a film where their number is neither asked for nor configured."""

SECONDS = 10
"""Length of a sound where none is asked for and the configuration names none."""

SAMPLES = 16_000
"""Samples of sound a second where the configuration does not say: what speech is stored at."""

SPECTRA = 100
"""Spectra a second: one every 10 ms, as speech recognition has them."""

SIZES = ("seq", "target", "image", "frames", "audio")
"""Sizes by name: tokens, tokens of the decoder, height and width, images of a film, samples or spectra."""

_LONGEST = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len")


class Sizes:
    """The sizes that inputs are made of: asked for, the configuration's, or usual ones with a remark."""

    def __init__(
        self, model: nn.Module, config: Config, asked: Mapping[str, Shape], *, main: str = ""
    ) -> None:
        self.model = model
        self.config = config
        self.main = main
        self.asked = asked
        self.used: set[str] = set()
        self.remarks: dict[str, str] = {}

    def tokens(self) -> int:
        """Tokens a sequence."""
        return self._length("seq", "tokens a sequence", self._text())

    def targets(self) -> int:
        """Tokens that the decoder takes: as many as the encoder where that reads text too."""
        if "target" not in self.asked and self.main == "input_ids":
            return self.tokens()
        return self._length("target", "tokens for the decoder", self._text(decoder=True))

    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        # A list names the channels of every stage, of which none is the image's.
        channels = self.number("num_channels", "in_channels", "in_chans") or 3
        asked = self._asked("image")
        if asked is not None and len(asked) == 3:
            return (asked[0], asked[1], asked[2])
        sides = asked or _sides(self._field("image_size", "input_size", "img_size", "max_img_size"))
        if sides is None:  # timm's, in a wrapper
            timm = self._field("model_args")
            sides = _sides(timm.get("img_size")) if isinstance(timm, Mapping) else None
        if sides is None:  # what embeds the patches knows what it was built for
            built = (getattr(each, "img_size", None) for each in self.model.modules())
            sides = next((_sides(size) for size in built if _sides(size)), None)
        codes = self.number("num_patches")
        if (
            self.config.model_type == "janus_vqgan" and codes
        ):  # a side of codes, halved between stages
            sides = _sides(codes * 2 ** (len(self.config.channel_multiplier) - 1))
        windows = self.number("num_windows")
        if asked is None and sides is not None and windows:  # RF-DETR: as many windows a side
            step = windows * self.width("patch_size")
            sides = (-(-sides[0] // step) * step, -(-sides[-1] // step) * step)
        ratios = self._field("scaled_images_ratios")
        if asked is None and isinstance(ratios, list):  # DepthPro: the smallest copy holds a patch
            sides = _sides(int(self.width("patch_size") / min(ratios)))
        if sides is None:
            self.remarks["image"] = f"images of {IMAGE} x {IMAGE}; another size: --input image=384"
            sides = (IMAGE, IMAGE)
        return (channels, sides[0], sides[-1])

    def asked_image(self) -> tuple[int, int] | None:
        """Height and width of an image where they are asked for."""
        asked = self._asked("image")
        return None if asked is None else (asked[-2] if len(asked) > 1 else asked[0], asked[-1])

    def frames(self) -> int:
        """Images of a film."""
        asked = self._asked("frames")
        return asked[0] if asked else self.number("num_frames", "frames_per_clip") or FRAMES

    def samples(self) -> int:
        """Samples of a sound."""
        asked = self._asked("audio")
        if asked is not None:
            return asked[-1]
        rate = self.number("sampling_rate", "sample_rate") or SAMPLES
        token = self.number("samples_per_token") or 1
        rate = -(-rate // token) * token  # a sound of whole tokens
        self.remarks["audio"] = (
            f"{SECONDS} seconds of sound at {rate:,} samples a second; another length: "
            f"--input audio={rate}"
        )
        return SECONDS * rate

    def spectra(self, longest: int | None = None) -> int:
        """Spectra of a sound, one after the other; as many as the network takes where that is fixed."""
        asked = self._asked("audio")
        if asked is not None:
            return asked[-1]
        if longest is not None:
            return longest
        count = SECONDS * SPECTRA
        self.remarks["audio"] = (
            f"{count} spectra of sound; another number: --input audio={count // 2}"
        )
        return count

    def width(self, *names: str) -> int:
        """A width that the configuration must name.

        Raises:
            UsageError: it does not.
        """
        value = self.number(*names)
        if value is not None:
            return value
        raise UsageError(
            f"the inputs of {type(self.model).__name__} are not known: its configuration has no "
            f"{' and no '.join(names)}",
            "give each input by name, without the batch axis: --input name=3,224,224",
        )

    def number(self, *names: str) -> int | None:
        """The first of these fields, where it is a whole number."""
        value = self._field(*names)
        return value if isinstance(value, int) else None

    def has(self, *names: str) -> bool:
        """Whether the configuration, or a part of it, has all these fields set."""
        return all(self._field(name) is not None for name in names)

    def check_used(self) -> None:
        """Refuses a size that nothing was made of.

        Raises:
            UsageError: the network has no input of that kind.
        """
        for name in self.asked:
            if name not in self.used:
                raise UsageError(
                    f"{type(self.model).__name__} takes no input that {name} is a size of",
                    f"its forward takes ({', '.join(parameters_of(self.model))})",
                )

    def _asked(self, name: str) -> Shape | None:
        self.used.add(name)
        return self.asked.get(name)

    def _field(self, *names: str) -> object:
        return found(self.config, *names)

    def _length(self, name: str, what: str, text: Config) -> int:
        asked = self._asked(name)
        if asked is not None:
            return asked[0]
        longest = next(
            (v for key in _LONGEST if isinstance(v := getattr(text, key, None), int) and v > 0),
            LENGTH,
        )
        length = min(LENGTH, longest)
        self.remarks[name] = f"{length} {what}; another length: --input {name}=1024"
        return length

    def _text(self, *, decoder: bool = False) -> Config:
        """The configuration of the part that reads text."""
        try:
            return self.config.get_text_config(decoder=True if decoder else None)
        except (
            ValueError
        ):  # it has several, of which the first is what is read and the last is written
            several = [
                part
                for part in parts(self.config)
                if any(getattr(part, name, None) for name in _LONGEST)
            ]
            return several[-1 if decoder else 0] if several else self.config


def parameters_of(model: nn.Module) -> tuple[str, ...]:
    """The names of forward's arguments."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(model.forward).parameters.items()
    return tuple(name for name, each in found if each.kind not in variadic)


def _sides(size: object) -> Shape | None:
    """Height and width, where one number means a square."""
    if isinstance(size, int):
        return (size, size)
    if isinstance(size, Mapping):
        return (int(size["height"]), int(size["width"])) if "height" in size else None
    if isinstance(size, list | tuple) and size and all(isinstance(side, int) for side in size):
        return tuple(size)
    return None
