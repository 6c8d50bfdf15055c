"""memdriven: memory-driven text-to-image generation (Li, Torr, Lukasiewicz; BMVC 2022).

The public names are imported when first used, so that `import memdriven` stays cheap.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memdriven.pipeline.output import PipelineOutput
    from memdriven.pipeline.pipeline import MemoryDrivenPipeline
    from memdriven.pipeline.request import Recipe

# torch's threads wait for each other by spinning. Beside other work (a browser, another run) the
# spinning takes the time that they wait for; with this limit a process alone loses little, and two
# share their cores fairly (docs/log.md). Read when torch loads; what the user has set stays.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

__version__ = "1.0.0"
__all__ = ["MemoryDrivenPipeline", "PipelineOutput", "Recipe", "__version__"]

_HOMES = {
    "MemoryDrivenPipeline": "memdriven.pipeline.pipeline",
    "PipelineOutput": "memdriven.pipeline.output",
    "Recipe": "memdriven.pipeline.request",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
