"""Every network that the installed libraries know by name, weighed and held against independent counts.

`python -m benchmarks every torchvision timm hf [--only TEXT] [--fresh] [--train]` weighs each network without
data in a worker process, and writes a line of JSON for each to `build/every/`; a run that was cut off goes on
where it was. Then it prints how many are exact, and lists those that are not with what they said.

The witnesses: torch's own FlopCounterMode sees the same operators and counts the contractions among them by its
own formulas, but for attention, which this project takes whole, and for the grouped products of experts, for which
it has no formula (both are checked by hand in the tests); the parameters are those of a plain sum over the
module; torchvision's documentation prints both.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from weighbridge.errors import WeighError

FOLDER = Path("build/every")
SECONDS = 300
"""A network that takes longer than this to weigh has failed."""

_WITHOUT_WITNESS = ("attention", "grouped_matmul")
"""Kinds of operators that FlopCounterMode does not see as we do."""

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

BATCH = 100
"""Networks that one set of workers weighs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one network. `macs_but_attention` are those that the witness counts too, `witness_macs`."""

    name: str
    mode: str
    error: str = ""
    params: int = 0
    module_params: int = 0
    documented_params: int | None = None
    macs: int = 0
    macs_but_attention: int = 0
    witness_macs: int = 0
    documented_gmacs: float | None = None
    operators: int = 0
    uncounted: dict[str, int] | None = None
    rung: str = ""
    complete: bool = True
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        return (
            not self.error
            and self.complete
            and self.params == self.module_params
            and self.macs_but_attention == self.witness_macs
        )


def names_of(frontend: str, mode: str) -> tuple[str, ...]:
    """Every network of a frontend, one per architecture; of transformers those that are trained here."""
    if frontend == "torchvision":
        from weighbridge.frontends import torchvision

        return torchvision.names()
    if frontend == "timm":
        from weighbridge.frontends import timm

        return timm.names()
    if mode == "training":
        return TRAINED
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return tuple(sorted(CONFIG_MAPPING))


def weigh(frontend: str, name: str, mode: str) -> Result:
    """Weighs one network in this process; whatever goes wrong is in the result."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = f"{frontend}:{name}"
            if frontend == "hf":
                source = f"hf:{_default_configuration(name, folder)}"
            result = _weigh(frontend, name, source, mode)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        text = str(error).replace(str(Path.cwd()), ".")
        return Result(
            name=name,
            mode=mode,
            error=f"{type(error).__name__}: {text}"[:600],
            seconds=round(time.perf_counter() - start, 2),
        )
    finally:
        signal.alarm(0)
    return result


def _weigh(frontend: str, name: str, source: str, mode: str) -> Result:
    import warnings

    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    from weighbridge.analyses.weighing import Weighing
    from weighbridge.frontends import read
    from weighbridge.frontends.torch import twin
    from weighbridge.ops.optimizers import optimizer
    from weighbridge.workload import Workload

    workload = Workload(
        mode="training" if mode == "training" else "inference",
        optimizer=optimizer("sgd") if mode == "training" else None,
    )
    # The module itself, to count its parameters without our code.
    seen: list[nn.Module] = []
    names = twin.names_of

    def watching(model: nn.Module) -> twin.Names:
        seen.append(model)
        return names(model)

    from weighbridge.frontends.torch import recording, tracing

    tracing.names_of = watching
    # The witness sees what reaches PyTorch's kernels, which shortcuts spare it.
    shortcuts, recording.SHORTCUTS = recording.SHORTCUTS, {}
    start = time.perf_counter()
    try:
        counter = FlopCounterMode(display=False)
        # It watches modules too, and fails where one hands on a parameter; its total needs none.
        counter.mod_tracker = _Nowhere()  # type: ignore[assignment]
        with warnings.catch_warnings(), counter:
            warnings.simplefilter("ignore")
            program = read(source, workload)
    finally:
        tracing.names_of, recording.SHORTCUTS = names, shortcuts
    seconds = time.perf_counter() - start
    weighing = Weighing(program=program)
    found = weighing.compute
    attention = sum(
        cost.macs
        for op, cost in zip(program.ops, weighing.costs, strict=True)
        if cost is not None and op.kind.startswith(_WITHOUT_WITNESS)
    )
    macs = found.forward.macs + found.backward.macs
    params, gmacs = _documented(frontend, name)
    return Result(
        name=name,
        mode=mode,
        params=weighing.parameters.total,
        module_params=sum(p.numel() for p in seen[-1].parameters()) if seen else 0,
        documented_params=params,
        macs=macs,
        macs_but_attention=macs - attention,
        witness_macs=counter.get_total_flops() // 2,
        documented_gmacs=gmacs,
        operators=found.operators,
        uncounted={entry.op: entry.count for entry in found.uncounted},
        rung=program.rung,
        complete=program.complete,
        warnings=weighing.warnings,
        seconds=round(seconds, 2),
    )


class _Nowhere:
    """Stands in for what tells FlopCounterMode which module is running."""

    parents = ("Global",)

    def __enter__(self) -> None:
        """Watches nothing."""

    def __exit__(self, *_: object) -> None:
        """Nothing to stop."""


def _documented(frontend: str, name: str) -> tuple[int | None, float | None]:
    if frontend != "torchvision":
        return None, None
    from torchvision.models import get_model_weights

    weights = getattr(get_model_weights(name), "DEFAULT", None)
    meta = {} if weights is None else weights.meta
    return meta.get("num_params"), meta.get("_ops")


def _default_configuration(kind: str, folder: str) -> Path:
    """The default configuration of a type of network, as a file; with the head of a language model if it has one."""
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


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took longer than {SECONDS} seconds")


def run(frontend: str, mode: str, *, only: str, fresh: bool, workers: int) -> list[Result]:
    """Weighs what is left to weigh and returns all results."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{frontend}-{mode}.jsonl"
    if fresh:
        file.unlink(missing_ok=True)
    done = {result.name: result for result in _kept(file)}
    names = [name for name in names_of(frontend, mode) if only in name]
    left = [name for name in names if name not in done]
    with Progress(console=Console(stderr=True)) as progress, file.open("a") as lines:
        task = progress.add_task(
            f"{frontend} {mode}", total=len(names), completed=len(names) - len(left)
        )
        for result in _weighed(frontend, left, mode, workers):
            done[result.name] = result
            lines.write(json.dumps(asdict(result)) + "\n")
            lines.flush()
            progress.advance(task)
    return [done[name] for name in names if name in done]


def _kept(file: Path) -> Iterator[Result]:
    if file.exists():
        for line in file.read_text().splitlines():
            record = json.loads(line)
            yield Result(**{**record, "warnings": tuple(record["warnings"])})


def _weighed(frontend: str, names: list[str], mode: str, workers: int) -> Iterator[Result]:
    """The results as they come; a worker that dies takes only the networks that it was at."""
    for start in range(
        0, len(names), BATCH
    ):  # new workers now and then: libraries keep what they built
        left = names[start : start + BATCH]
        while left:
            waiting = list(left)
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                futures = {pool.submit(weigh, frontend, name, mode): name for name in left}
                left = []
                try:
                    for future in as_completed(futures):
                        yield future.result()
                        waiting.remove(futures[future])
                except BrokenProcessPool:
                    # Submitted in order: the dead worker was at one of the first that are left.
                    for name in waiting[:workers]:
                        yield Result(name=name, mode=mode, error="the worker died")
                    left = waiting[workers:]


def summary(frontend: str, mode: str, results: list[Result]) -> list[str]:
    """How many were weighed, how many are exact, by which rung, and which operators have no rule."""
    weighed = [result for result in results if not result.error]
    exact = sum(result.exact for result in weighed)
    whole = sum(not result.uncounted for result in weighed)
    rungs = Counter(result.rung for result in weighed)
    lines = [
        f"{frontend}, {mode}: {len(results)} networks, {len(weighed)} weighed, {exact} exact in parameters and "
        f"MACs, {whole} with every operator counted",
        "by rung: " + ", ".join(f"{rung} {count}" for rung, count in rungs.items()),
    ]
    missed: Counter[str] = Counter()
    for result in results:
        missed.update(result.uncounted or {})
    if missed:
        lines.append(
            "without a rule: " + ", ".join(f"{op} {n}" for op, n in missed.most_common(40))
        )
    return lines


def exceptions(results: list[Result]) -> list[tuple[str, str]]:
    """The networks that are not exact, or off what is documented, with what there is to say."""
    found = []
    for result in results:
        if result.exact and not _off(result):
            continue
        what = " ".join(result.error.split()) or (
            f"params {result.params:,} of {result.module_params:,}; MACs but attention "
            f"{result.macs_but_attention:,}, witness {result.witness_macs:,}"
        )
        if _off(result):
            what += f"; documented {result.documented_gmacs} G, ours {result.macs / 1e9:.3f} G"
        found.append((result.name, what))
    return found


def show(frontend: str, mode: str, results: list[Result]) -> None:
    """The summary, and the exceptions as a table."""
    console = Console(width=160)
    console.print()
    for line in summary(frontend, mode, results):
        console.print(line)
    table = Table("network", "what")
    for name, what in exceptions(results):
        table.add_row(name, what)
    if table.row_count:
        console.print(table)


def page(sections: list[tuple[str, str, list[Result]]]) -> str:
    """The same as Markdown."""
    lines = [
        "# Every network",
        "",
        "What `python -m benchmarks every --page docs/truth/every.md` found. Exact means that the parameters are",
        "those of a plain sum over the module, and that the MACs of everything but attention are those of PyTorch's",
        "FlopCounterMode to the last one; attention is taken whole, and its count is checked by hand in the tests.",
        "",
    ]
    for frontend, mode, results in sections:
        first, *rest = summary(frontend, mode, results)
        lines += [f"## {frontend}, {mode}", "", first.partition(": ")[2] + "."]
        lines += [f"{line[0].upper()}{line[1:]}." for line in rest]
        rows = exceptions(results)
        if rows:
            lines += ["", "| network | what |", "|---|---|"]
            lines += [f"| {name} | {what[:240].replace('|', '/')} |" for name, what in rows]
        lines.append("")
    return "\n".join(lines)


def _off(result: Result) -> bool:
    """Whether a documented figure differs by more than half a percent."""
    if result.mode == "training" or not result.documented_gmacs:
        return False
    # The documentation prints three decimals.
    allowed = max(0.005 * result.documented_gmacs, 0.0006)
    return abs(result.macs / 1e9 - result.documented_gmacs) > allowed


def main(arguments: list[str] | None = None) -> None:
    """Runs the frontends that are named, all of them without a name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.every")
    parser.add_argument("frontends", nargs="*", default=["torchvision", "timm", "hf"])
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--train", action="store_true", help="a training step, not inference")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, help="also write what was found as Markdown")
    chosen = parser.parse_args(arguments)
    mode = "training" if chosen.train else "inference"
    sections = []
    for frontend in chosen.frontends:
        results = run(frontend, mode, only=chosen.only, fresh=chosen.fresh, workers=chosen.workers)
        show(frontend, mode, results)
        sections.append((frontend, mode, results))
    if chosen.page is not None:
        chosen.page.parent.mkdir(parents=True, exist_ok=True)
        chosen.page.write_text(page(sections), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
