"""What can be asked about by name: a case, a network of torchvision, a network of the zoo.

A network of torchvision stands beside the figure that its weights document. Nobody publishes the zoo's to
the last digit: there the number comes from PyTorch's own counter on meta tensors, which is exact for what
those networks are made of (convolutions and linear layers) and knows nothing of the zoo.
"""

from __future__ import annotations

from benchmarks.peers.cases import BY_NAME, Case
from weighbridge.errors import nearest
from weighbridge.frontends import torchvision, zoo


def case_of(name: str) -> Case:
    """The case of that name; `torchvision:` or `zoo:` in front says whose network is meant.

    Raises:
        LookupError: nobody has that name; the message has the nearest.
    """
    library, _, plain = name.rpartition(":")
    if not library and plain in BY_NAME:
        return BY_NAME[plain]
    if library in ("", "torchvision") and torchvision.knows(plain):
        return _published(plain)
    if library in ("", "zoo") and (known := zoo.canonical(plain)) is not None:
        return BY_NAME[known] if known in BY_NAME else _described(known)
    if library not in ("", "torchvision", "zoo"):
        raise LookupError(f"no library {library!r}; the networks are torchvision's and the zoo's")
    near = nearest(plain, [*BY_NAME, *torchvision.names(), *zoo.names()])
    what = f"no case or network {name!r}"
    raise LookupError(f"{what}; nearest: {', '.join(near)}" if near else what)


def _published(name: str) -> Case:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    inputs = " and ".join(
        " x ".join(map(str, each.shape)) for each in torchvision.documented_inputs(name)
    )
    return Case(
        name=name,
        title=f"{name} of torchvision, {inputs}",
        build=f"torchvision:{name}",
        macs=round(weights.meta["_ops"] * 1e9),
        params=weights.meta["num_params"],
        source=f"as torchvision publishes it with {weights}, to three decimals",
        digits=3,
    )


def _described(name: str) -> Case:
    """A network of the zoo that is no case: it is built of PyTorch's layers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.peers.networks import built

    module, arguments = built(f"zoo:{name}", device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*arguments)
    about = zoo.describe(name)
    return Case(
        name=name,
        title=f"{about.title} of the zoo" + (f" ({about.note})" if about.note else ""),
        build=f"zoo:{name}",
        macs=counter.get_total_flops() // 2,
        params=sum(parameter.numel() for parameter in module.parameters()),
        source="as PyTorch's FlopCounterMode counts it on meta tensors; nobody published it exactly",
    )
