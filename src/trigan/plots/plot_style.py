"""The style of all plots, and writing them: the same bytes for the same numbers, whatever the machine's settings."""

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.atomic import atomic_write
from trigan.errors import TriganError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, for any colour vision, without yellow, which is too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#6B6B6B"
#: Legend at the right of the axes.
OUTSIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.parse_math": False,
    "savefig.facecolor": "white",
}


_log = logging.getLogger("trigan")


@contextmanager
def no_result_lost() -> Iterator[None]:
    """Within it, a picture that cannot be drawn is a warning. Errors of writing stay errors: runs resume after them."""
    try:
        yield
    except (OSError, TriganError):
        raise
    except Exception as error:
        _log.warning("a picture is not drawn (%s: %s); results are not affected", type(error).__name__, error)


@functools.cache
def font_path() -> Path:
    """The plots' font, from matplotlib, without its import: Pillow's own has few letters beyond ASCII."""
    return Path(str(distribution("matplotlib").locate_file("matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf")))


@functools.cache
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_path())).get_charmap())


def drawable(text: str) -> str:
    r"""Text whose letters without a sign in the plots' font (Chinese, emoji) are escaped, in one line.

    >>> drawable("caf\u00e9 \u732b")
    'café \\u732b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if ord(one) in _letters() else one.encode("unicode_escape").decode() for one in text)


@contextmanager
def saved_figure(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """A figure of width x height inches in our style; written to ``path`` as PNG at the end of the block.

    Matplotlib is imported lazily and without pyplot: no window system and no global state.
    """
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
        yield figure
        with warnings.catch_warnings(), atomic_write(path) as file:
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a class name in a script without a font
            figure.savefig(file, format="png", metadata={"Software": None})
