"""Small networks of our own, each for something that memory may stumble over: views, branches, what is saved twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padding: skip connections keep what the way down made."""

    def __init__(self, width: int = 32, depth: int = 4, classes: int = 4) -> None:
        super().__init__()
        widths = [width << level for level in range(depth)]
        self.down = nn.ModuleList(
            _double(before, after) for before, after in zip([3, *widths], widths, strict=False)
        )
        self.bottom = _double(widths[-1], 2 * widths[-1])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths))
        self.joined = nn.ModuleList(_double(2 * w, w) for w in reversed(widths))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level in self.down:
            x = level(x)
            kept.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, joined in zip(self.ups, self.joined, strict=True):
            x = joined(torch.cat((up(x), kept.pop()), dim=1))
        return self.head(x)


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
    )  # fmt: skip


class Perceptron(nn.Module):
    """Layers of one width, with dropout where a rate is given."""

    def __init__(self, width: int = 2048, layers: int = 6, rate: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(rate))
                for _ in range(layers)
            )
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Branches(nn.Module):
    """Chunks, splits, views, concatenations and sums of what branches make of one tensor."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.left = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self.right = nn.Conv2d(width // 2, width // 2, 5, padding=2)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(3 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        left, right = x.chunk(2, dim=1)
        x = torch.cat((self.left(left).sigmoid() * left, self.right(right).tanh() + right), dim=1)
        tokens = x.flatten(2).transpose(1, 2)
        mixed = self.mix(tokens)
        mixed = mixed - mixed.mean(dim=1, keepdim=True)
        parts = mixed.split(mixed.shape[-1] // 2, dim=-1)
        gathered = torch.stack(parts).amax(dim=0).repeat(1, 1, 2)
        pooled = [tokens.mean(dim=1), mixed.logsumexp(dim=1), gathered.pow(2).sum(dim=1).sqrt()]
        return self.head(torch.cat(pooled, dim=1))


class Shared(nn.Module):
    """One block run again and again, as siamese and recurrent networks do: its gradients meet."""

    def __init__(self, width: int = 512, times: int = 6) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.head = nn.Linear(width, 10)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = x + self.block(x)
        return self.head(x.mean(dim=1))


class Autoencoder(nn.Module):
    """Strided convolutions down and transposed ones up again, with group and instance norm."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.GroupNorm(8, width), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.InstanceNorm2d(2 * width, affine=True), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.GroupNorm(8, width), nn.ELU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Video(nn.Module):
    """Convolutions over time too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(3, 32, 3, padding=1), nn.BatchNorm3d(32), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(32, 64, 3, padding=1), nn.BatchNorm3d(64), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


class Speech(nn.Module):
    """Convolutions over a signal, then a recurrent network over what they hear."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 64, 10, 5), nn.ReLU(), nn.Conv1d(64, 128, 8, 4), nn.BatchNorm1d(128), nn.ReLU(),
        )  # fmt: skip
        self.recurrent = nn.GRU(128, 128, batch_first=True)
        self.head = nn.Linear(128, 20)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.recurrent(self.body(x).transpose(1, 2))
        return self.head(y[:, -1])


class Recurrent(nn.Module):
    """A tagger or a language model over a recurrent network."""

    def __init__(
        self,
        kind: str,
        *,
        vocabulary: int = 2000,
        width: int = 256,
        layers: int = 2,
        both: bool = False,
        rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = getattr(nn, kind)(
            width, width, layers, batch_first=True, bidirectional=both, dropout=rate
        )
        self.head = nn.Linear(2 * width if both else width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        y, _ = self.recurrent(self.embedding(tokens))
        return self.head(y).flatten(0, 1)


class Cells(nn.Module):
    """A recurrent network by hand, one cell a step."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(dim=1):
            state = self.cell(step, state)
        assert state is not None
        return self.head(state[0])


class Block(nn.Module):
    """A transformer's block before-norm, its attention written out or PyTorch's."""

    def __init__(self, width: int, heads: int, *, explicit: bool, rate: float) -> None:
        super().__init__()
        self.heads, self.explicit, self.rate = heads, explicit, rate
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + functional.dropout(self._attention(self.norm_1(x)), self.rate, self.training)
        y = self.down(functional.gelu(self.up(self.norm_2(x))))
        return x + functional.dropout(y, self.rate, self.training)

    def _attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).split(width, dim=-1)
        )
        if self.explicit:
            scores = q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5
            future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            shares = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
            y = functional.dropout(shares, self.rate, self.training) @ v
        else:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class Decoder(nn.Module):
    """A small GPT, its head tied to the embedding, its blocks checkpointed where that is asked for."""

    def __init__(
        self,
        *,
        vocabulary: int = 4000,
        length: int = 128,
        width: int = 256,
        heads: int = 8,
        layers: int = 4,
        explicit: bool = False,
        rate: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, explicit=explicit, rate=rate) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return self.head(self.norm(x)).flatten(0, 1)


class CheckpointedConvolutions(nn.Module):
    """A stack of convolutions in segments of which the inside is computed again in backward."""

    def __init__(self, width: int = 64, layers: int = 8, segments: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
                )
                for _ in range(layers)
            )
        )
        self.head = nn.Linear(width, 10)
        self.segments = segments

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint_sequential(self.body, self.segments, self.stem(x), use_reentrant=False)
        return self.head(x.mean(dim=(2, 3)))
