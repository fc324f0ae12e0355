"""Settings that several descriptors share, and checks of their values."""

import dataclasses
from collections.abc import Sequence

from meranet_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class SvmSettings:
    """Settings of every descriptor: those of its SVM.

    Raises:
      UserError: if a value is out of its range.
    """

    svm_c_exponents: tuple[int, int] = (-5, 15)
    """First and last exponent of the values of the SVM's C: -5 15 is 2^-5, 2^-4, ...,
    2^15. Cross-validation over the training subjects selects one."""

    def __post_init__(self):
        """Raises UserError for values out of range."""
        _check_exponents(self, "svm_c_exponents")


@dataclasses.dataclass(frozen=True)
class KernelSvmSettings(SvmSettings):
    """Settings of a descriptor whose SVM has a kernel with a gamma.

    Raises:
      UserError: if a value is out of its range.
    """

    svm_gamma_exponents: tuple[int, int] = (-4, 4)
    """First and last exponent of the values of the kernel's gamma: -4 4 is 2^-4, 2^-2,
    ..., 2^4. It is selected together with C."""

    def __post_init__(self):
        """Raises UserError for values out of range."""
        super().__post_init__()
        _check_exponents(self, "svm_gamma_exponents")

    @property
    def gammas(self) -> tuple[float, ...]:
        """The values of gamma, ascending."""
        first, last = self.svm_gamma_exponents
        return tuple(2.0**exponent for exponent in range(first, last + 1, 2))


def check_counts(settings: object, field: str, length: int) -> None:
    """Checks that a field has some integers of at least 1.

    Args:
      settings: a dataclass.
      field: name of the field.
      length: number of integers.

    Raises:
      UserError: if it does not; the message names the flag.
    """
    values = getattr(settings, field)
    if len(values) != length or min(values) < 1:
        number = {2: "two", 3: "three"}[length]
        raise UserError(
            f"--{field} {to_text(values)}: give {number} integers of at least 1."
        )


def _check_exponents(settings: object, field: str) -> None:
    exponents = getattr(settings, field)
    if len(exponents) != 2 or not -30 <= exponents[0] <= exponents[1] <= 30:
        raise UserError(
            f"--{field} {to_text(exponents)}: give the first and the last exponent, "
            "ascending, from -30 to 30."
        )


def to_text(values: Sequence[object]) -> str:
    """Returns values as they are given on a command line."""
    return " ".join(map(str, values))
