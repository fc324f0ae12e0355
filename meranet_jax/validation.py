"""Checks of settings that several dataclasses share."""

import typing
from collections.abc import Mapping
from typing import Any, Literal

from meranet_jax.errors import UserError


def check_choices(settings: object) -> None:
    """Checks that each ``Literal`` field of a dataclass has one of its values.

    Raises:
      UserError: if one has another value; the message names the flag.
    """
    for field, hint in typing.get_type_hints(type(settings)).items():
        if typing.get_origin(hint) is not Literal:
            continue
        valid = typing.get_args(hint)
        if (value := getattr(settings, field)) not in valid:
            raise UserError(
                f"--{field}={value} is none of {', '.join(map(str, valid))}."
            )


def check_minimums(settings: object, minimums: Mapping[str, float]) -> None:
    """Checks that fields are not below their minimum; None is not checked.

    Args:
      settings: a dataclass.
      minimums: the least value of each field by name.

    Raises:
      UserError: if one is below; the message names the flag.
    """
    for field, least in minimums.items():
        value = getattr(settings, field)
        if value is not None and not value >= least:
            raise UserError(f"--{field}={value} must be at least {least}.")


def has_type(value: object, hint: Any) -> bool:
    """Returns whether a value has the type that a settings field is annotated with."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return isinstance(value, str | int)  # ``check_choices`` looks at the value
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(has_type(v, parts[0]) for v in value)
    if parts:  # a union
        return any(has_type(value, part) for part in parts)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
