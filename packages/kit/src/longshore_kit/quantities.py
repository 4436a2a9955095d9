"""Kubernetes' quantities (`500m`, `2`, `512Mi`, `1e3`), for whoever gives containers their share without it. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from typing import Final

_UNITS: Final = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    **{unit: 1000.0**power for power, unit in enumerate("MGTPE", 2)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY: Final = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)(?:([eE][+-]?\d+)|({'|'.join(sorted(_UNITS, reverse=True))}))")


def is_quantity(text: str) -> bool:
    """Whether `quantity` reads it."""
    return _QUANTITY.fullmatch(text) is not None


def quantity(text: str) -> float:
    """
    A quantity as a number: 500m is 0.5, 1Ki is 1024.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity, such as 500m, 2, 512Mi")
    number, exponent, unit = match.groups()
    return float(number + (exponent or "")) * _UNITS[unit or ""]
