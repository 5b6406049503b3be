"""Small questions about integers that several engines ask."""

from __future__ import annotations


def divisors(number: int) -> tuple[int, ...]:
    """Return the divisors of a positive number, the least first."""
    return tuple(item for item in range(1, number + 1) if number % item == 0)


def signed_bits(low: int, high: int) -> int:
    """Return the bits that any integer from `low` to `high` needs in two's complement."""
    return 1 + max(high, -low - 1, 0).bit_length()
