"""Named settings, a block each in `presets.toml`: of the phases of the shipped models, and the paper's."""

import tomllib
from pathlib import Path

from memdriven.config import Config, from_dict
from memdriven.errors import ConfigError

_BLOCKS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
USES: dict[str, str] = {name: block.pop("use") for name, block in _BLOCKS.items()}
"""What each is for, and what it takes."""
PRESETS = {name: from_dict(Config, {"preset": name, **block}) for name, block in _BLOCKS.items()}


def preset(name: str | None) -> Config:
    """Return a preset by name; a ConfigError, also for None, says which there are."""
    if name not in PRESETS:
        lines = [f"  {known:16} {use}" for known, use in USES.items()]
        found = "none" if name is None else repr(name)
        raise ConfigError("a preset:\n" + "\n".join(lines), found, "choose one of these by --preset")
    return PRESETS[name]
