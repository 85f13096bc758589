"""timm for the tests, from a folder beside the environment's packages; `make test` fills the folder.

timm needs torchvision. The compiled part of torchvision's public wheel is for CUDA and isn't loaded beside a CPU build
of torch; then importing torchvision fails, because two operators are not declared. They are declared here; no
classifier calls them. The folder is on no other program's path, since torchmetrics imports any torchvision it finds.

    python timm_package.py SCRIPT [ARGUMENT ...]    run a script that can import timm
"""

import functools
import importlib
import importlib.util
import runpy
import sys
from pathlib import Path

from torch import library

FOLDER = Path(sys.prefix) / "timm"


@functools.cache
def make_importable() -> library.Library | None:
    """Make ``import timm`` work in this process; the environment's own timm is used if there is one."""
    if importlib.util.find_spec("timm") is not None:
        return None
    operators = library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.path.append(str(FOLDER))
    importlib.import_module("timm")
    sys.path.remove(str(FOLDER))  # tests hand sys.path on to their subprocesses
    return operators  # they last as long as this object


if __name__ == "__main__":
    make_importable()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
