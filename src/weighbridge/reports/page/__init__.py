"""The page: a report as one file that opens anywhere, without a network, and recomputes itself when a knob is moved.

Everything is in it: the style, the program (`js`), and the record that the program reads (`record`). A policy in its
head allows this script and this style, by their hashes, and nothing else: no request can leave it.
This is the home of Jinja2.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import resources

from ...analyses.memory.largest import Placed
from ...analyses.memory.resident import HELD, KERNELS
from ...analyses.time.step import StepTime, Untimed
from ...analyses.weighing import Json, Weighing
from ...units import percent
from .. import screen
from ..layers import short_unit
from ..sheet import Sheet
from . import still
from .published import Published

MODULES = (
    "units", "elements", "saving", "record", "clock", "timing", "step", "allocator", "resident", "reading", "modules",
    "exports", "figures", "tree", "curve", "icicle", "roofline", "layered", "graph", "knobs", "main",
)  # fmt: skip
"""The modules of the page's program, each after those that it imports."""


BAND = (
    f"memory on a GPU: tensors {percent(KERNELS[0])} fewer to {percent(KERNELS[1])} more than predicted, "
    f"which holds {HELD}"
)
"""How sure the predictions are, always in sight. Counts are exact."""


def render(
    weighing: Weighing,
    record: Mapping[str, Json],
    *,
    placed: Sequence[Placed],
    times: Sequence[StepTime | Untimed],
    sheet: Sheet,
    papers: Sequence[Published] = (),
) -> str:
    """The page; `placed`, `times` and `sheet` are for what it says before its program runs, and where none may.

    `papers` are the published tables of the network's family.
    """
    verdict, *below = still.verdict(weighing, placed, times) or ("",)
    return document(
        "page.html.j2",
        MODULES,
        record,
        network=weighing.program.network,
        origin=screen.title(weighing).partition("  ")[2],
        verdict=verdict,
        answer=placed[0].resident.answer if placed else None,
        below=below,
        figures=tuple(still.figures(weighing, times)),
        remarks=screen.remarks(weighing)[1:],
        table=still.table(sheet),
        unit=short_unit(weighing),
        coverage=screen.coverage(weighing),
        band=BAND,
        papers=papers,
    )


def document(
    template: str, modules: Sequence[str], record: Mapping[str, Json], **said: object
) -> str:
    """A page of a template, which says what it is given, with the record and the modules that read it."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = _asset("page.css"), program(modules)
    return environment.get_template(template).render(
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        record=Markup(_inert(record)),
        **said,
    )


def program(modules: Sequence[str]) -> str:
    """The modules as one: a file cannot import from another when it is opened from a disk."""
    *others, last = (_scoped(_asset(f"js/{name}.js")) for name in modules)
    parts = [
        f"const ${name} = (() => {{\n{code}\nreturn {{ {', '.join(names)} }};\n}})();"
        for name, (code, names) in zip(modules, others, strict=False)
    ]
    return "\n".join((*parts, f"{{\n{last[0]}\n}}"))


def _scoped(module: str) -> tuple[str, list[str]]:
    """A module for a scope of its own, its imports taken from those of others, and the names that it exports."""
    names = re.findall(
        r"^export (?:async )?(?:function\*?|class|const) (\w+)", module, re.MULTILINE
    )
    module = re.sub(
        r"^import (\{.*?\}) from \"\./(\w+)\.js\";$", r"const \1 = $\2;", module, flags=re.M
    )
    return re.sub(r"^export ", "", module, flags=re.MULTILINE), names


def _inert(record: Mapping[str, Json]) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
