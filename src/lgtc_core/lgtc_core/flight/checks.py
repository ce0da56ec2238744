"""Refusing what cannot be a position or a velocity."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import InputError


def finite_vector(what: str, value: npt.ArrayLike, unit: str) -> npt.NDArray[np.float64]:
    """A copy of `value` as three finite numbers (3,).

    Raises:
        InputError: it is anything else; `what` and `unit` are for the message.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(what, repr(value), f"three finite numbers [{unit}]") from None
    if array.shape != (3,) or not math.isfinite(array[0] + array[1] + array[2]):
        raise InputError(what, f"{array.tolist()} {unit}", f"three finite numbers [{unit}]")
    return array
