"""Kubernetes' quantities as numbers."""

import pytest

from longshore_kit.quantities import is_quantity, quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("250u", 0.00025),
        ("5n", 5e-9),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000),
        ("1Ki", 1024),
        ("512Mi", 512 * 1024**2),
        ("2Pi", 2 * 1024**5),
        ("1G", 1e9),
        ("1E", 1e18),
    ],
)
def test_quantities(text: str, number: float) -> None:
    """As Kubernetes writes them."""
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "plenty", "-1", "1 Gi", "1e3x", "Gi", "512ki", "1K", "."])
def test_what_is_no_quantity_is_told(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(ValueError, match="is no quantity, such as 500m"):
        quantity(text)

    assert is_quantity(text) is False
