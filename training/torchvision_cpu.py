"""Makes `import torchvision` work beside a CPU build of torch: import this module first.

The registry's torchvision is built for CUDA. Beside a CPU build of torch its library of compiled operators does
not load, yet its Python code goes on to register fake kernels for two of those operators and fails, because nothing
has declared them. Declaring the two schemas is enough: datasets, transforms and utils need no compiled operator.
Where the operators do load (a matching CUDA build, or a torchvision built for the CPU) this module does nothing.
"""

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _operators_load() -> bool:
    """Whether torchvision's own library of operators loads here; loading it twice is harmless."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to mend: the import itself will say that torchvision is missing
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = Path(spec.origin).with_name(f"_C{suffix}")
        if library.exists():
            try:
                torch.ops.load_library(str(library))
            except OSError:
                return False
            return True
    return False


def _declare_operators() -> torch.library.Library | None:
    if _operators_load():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


_library = _declare_operators()  # the declarations live only as long as this object
