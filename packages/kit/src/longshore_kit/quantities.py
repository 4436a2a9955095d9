"""Kubernetes' quantities (`500m`, `2`, `512Mi`, `1e3`), for whoever gives containers their share without it. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from typing import Final

_UNITS: Final = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    **{unit: 1000.0**power for power, unit in enumerate("MGTPE", 2)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)},
}
_EXPRESSION: Final = rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([eE][+-]?[0-9]+)|({'|'.join(sorted(_UNITS, reverse=True))}))"
_QUANTITY: Final = re.compile(_EXPRESSION)
PATTERN: Final = f"^{_EXPRESSION}$"
"""What takes them, for a JSON schema."""


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
        raise ValueError(not_a_quantity(text))
    number, exponent, unit = match.groups()
    return float(number + (exponent or "")) * _UNITS[unit or ""]


def not_a_quantity(amount: object) -> str:
    """What to say of anything that is none."""
    return f"{amount!r} is no quantity, such as 500m, 2, 64Mi"
