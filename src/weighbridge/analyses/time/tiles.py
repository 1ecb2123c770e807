"""Tiles: a device makes a matrix product in tiles, and does more work than the product has.

A block of threads makes one tile of the result, `columns` of its features by `rows` of its samples, and walks along
the depth. Four things keep a product from the rate that its device reaches at best:

- **Edges.** A tile that hangs over the result computes zeros: 50,257 columns are 393 tiles of 128, not 392.6.
- **Waves.** Tiles are dealt to the multiprocessors. 109 tiles on 108 of them take as long as 216, less where blocks
  that share a multiprocessor even that out: `tail` says how much of the last wave is paid.
- **Loads.** A step along the depth loads columns + rows numbers for columns x rows products, so small tiles
  wait for their operands, and every tile fills and empties its pipeline once (`prologue`, in steps).
- **Addresses.** The operands' rows lie a depth apart. The rows that are walked together touch more pages than the
  device translates at once where the depth is large, and every step then waits for the page table.

The library takes the tile that it expects to be fastest, and so does this: the smallest time over a menu. In
half precision a matrix unit wants 16 bytes at a time, so that depths and columns that no 8 divides are slower.
What is ignored: which of two equal kernels is taken, and the order in which tiles are dealt.

Sources: NVIDIA DU-09799-001, 'Matrix multiplication background': tiles of 256x128 down to 64x64, tile and
wave quantisation, multiples of 8. The menus are the tiles in the kernels' names in NeuSight's tables of operators
(torch 2.1: `ampere_sgemm_128x64_tn`); the other figures are fitted there and to Vidur's (`python -m benchmarks fit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from ...dims import larger, smaller
from ...ops.kernel import Gemm

PAGE_BYTES = 2**21
"""What one entry of the table of addresses covers on CUDA: 2 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """What one block of threads makes of the result."""

    columns: int
    rows: int


def _menu(*sizes: tuple[int, int]) -> tuple[Tile, ...]:
    return tuple(Tile(columns=columns, rows=rows) for columns, rows in sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How a library makes products: its tiles, and what they cost.

    `edge` is the length of a tile's side at which loads take as long as products; `split` how many blocks may
    share one tile's depth; `step` is the number of elements that loads want to be a multiple of, and `unaligned`
    how many times as long it takes where they are not. What fills no tile takes `most` times as long and no more, as
    other kernels stream it.
    """

    tiles: tuple[Tile, ...]
    edge: float
    prologue: float
    tail: float
    split: int = 1
    step: int = 1
    unaligned: float = 1.0
    most: float | None = None

    def loads(self, tile: Tile) -> float:
        """How many times as long as its products the tile takes, compared with the largest of the menu."""

        def cost(columns: int, rows: int) -> float:
            return 1 + self.edge / columns + self.edge / rows

        return cost(tile.columns, tile.rows) / min(
            cost(each.columns, each.rows) for each in self.tiles
        )


MATRIX = Tiling(
    tiles=_menu(
        (256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64), (64, 128), (64, 64), (128, 32), (64, 32)
    ),
    edge=68,
    prologue=25,
    tail=0.6,
    split=8,
    step=8,
    unaligned=1.8,
    most=50,
)  # fmt: skip
"""Matrix units (tensor cores). `most`: CaiT mixes the maps of four heads by 4 x 4 numbers at every place of the map, which
takes about that (timm, RTX 3090). `unaligned`: GPT-2 of 124 million parameters ran 25 % faster with 50,304 columns of
logits than with 50,257, which are 31 % of its arithmetic (Karpathy, nanoGPT, February 2023): 1 + 0.25 / 0.31."""

VECTOR = Tiling(
    tiles=_menu(
        (128, 128), (128, 64), (64, 128), (64, 64), (128, 32), (32, 128), (64, 32), (32, 64), (32, 32)
    ),
    edge=6.6,
    prologue=8,
    tail=0.4,
)  # fmt: skip
"""The general cores, in float32."""

CONVOLUTION = Tiling(
    tiles=_menu((256, 128), (128, 256), (128, 128), (64, 256), (32, 256)),
    edge=25,
    prologue=25,
    tail=0.6,
)
"""Convolutions on matrix units, whose columns are their kernels: 40 of them take the 64 of a tile. HRNets of 40 and 44
channels are 1.5 times as slow in their convolutions as those of 32 and 64 (timm, RTX 3090)."""


def _batched(*sizes: tuple[int, int]) -> Tiling:
    return Tiling(tiles=_menu(*sizes), edge=6.6, prologue=10, tail=0.95)


BATCHED = {
    "pascal": _batched((128, 64)),
    "turing": _batched((128, 64), (64, 64)),
    "ampere-a100": _batched((128, 128)),
    "ampere": _batched((128, 128)),
    "ada": _batched((128, 128)),
    "hopper": _batched((128, 128)),
}
"""Batches of products in float32, where the library hardly chooses: one tile an architecture, whatever the sizes.
NeuSight's 4,373 products on A100 and L4 are all of `ampere_sgemm_128x128_nn`, P100's 2,004 of `maxwell_sgemm_128x64_nn`."""


def tiling(*, architecture: str, matrix: bool, batched: bool) -> Tiling:
    """The tiles of products on the matrix units or the general cores of an architecture."""
    if matrix:
        return MATRIX
    return BATCHED.get(architecture, VECTOR) if batched else VECTOR


def stretch(gemm: Gemm, tiling: Tiling, *, multiprocessors: int) -> float:
    """How many times as long the product takes as its multiply-accumulates at the rate of the largest tiles."""
    slots = reduce(
        smaller,
        (
            _slots(gemm, tile, tiling, split, multiprocessors)
            for tile in tiling.tiles
            for split in range(1, tiling.split + 1)
            if split & (split - 1) == 0
        ),
    )
    fits = (gemm.columns % tiling.step == 0) & (gemm.depth % tiling.step == 0)
    aligned = tiling.unaligned + fits * (1 - tiling.unaligned)
    found: float = slots * multiprocessors / larger(gemm.macs, 1) * aligned
    return found if tiling.most is None else smaller(found, tiling.most)


def _slots(gemm: Gemm, tile: Tile, tiling: Tiling, split: int, multiprocessors: int) -> float:
    """The multiply-accumulates that the busiest multiprocessor has time for while the product runs."""
    tiles = gemm.batch * -(-gemm.columns // tile.columns) * -(-gemm.rows // tile.rows) * split
    waves = tiling.tail * -(-tiles // multiprocessors) + (1 - tiling.tail) * larger(
        tiles / multiprocessors, 1
    )
    steps = gemm.depth / split + tiling.prologue
    return waves * tile.columns * tile.rows * tiling.loads(tile) * steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How many pages a device translates without waiting, and how the wait grows beyond: (pages / reach) ** growth."""

    pages: float
    growth: float


REACH = {"pascal": Reach(pages=88, growth=0.38)}
LATER = Reach(pages=273, growth=0.15)
"""P4 and P100 agree within 10 %; the cards after them reach three times as far."""


def reach_of(architecture: str) -> Reach:
    """How far devices of an architecture reach."""
    return REACH.get(architecture, LATER)


WALKED_ROWS = 12_000
"""How many rows of both operands are walked together at most."""


def walk(gemm: Gemm, reach: Reach, *, itemsize: int) -> float:
    """How many times as long the product takes for the pages that its rows lie on; 1 within the device's reach.

    65,536 x 12,288 times 12,288 x 4,096 in float32: 12,000 rows, 48 KiB apart, lie on 281 pages of 2 MiB.
    """
    rows = smaller(gemm.rows + gemm.columns, WALKED_ROWS)
    pages = rows * gemm.depth * itemsize / PAGE_BYTES
    stretched: float = larger(1.0, pages / reach.pages) ** reach.growth
    return stretched
