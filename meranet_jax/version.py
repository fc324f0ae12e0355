"""Version of the package."""

import tomllib
from importlib import metadata
from pathlib import Path

_DISTRIBUTION = "meranet-jax"


def _find_version() -> str:
    """Returns the version of the installed package or, else, of the checkout."""
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads(
            (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        )["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "unknown"
    return project["version"] if project["name"] == _DISTRIBUTION else "unknown"


__version__ = _find_version()
