"""Kubernetes' quantities (`500m`, `2`, `512Mi`), for whoever gives a container its share without Kubernetes. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from typing import Final

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|[kMGT]i?|Ki)?")
_UNITS: Final = {
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGT", 1)},
}


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
    return float(match[1]) * _UNITS.get(match[2] or "", 1.0)
