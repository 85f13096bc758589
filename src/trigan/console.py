"""Whether standard error can show a progress bar."""

from importlib.util import find_spec

from rich.console import Console


def shows_bars(console: Console) -> bool:
    """True on a terminal, and in a notebook that has ipywidgets: rich draws its bars with them."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
