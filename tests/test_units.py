from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.units import (
    format_bytes,
    format_seconds,
    parse_bytes,
    parse_quantity,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("512KiB", "bytes", 524288),
        ("2 MB", "bytes", 2_000_000),
        ("1.5GiB", "bytes", 1.5 * 2**30),
        ("17.1 GB/s", "bytes/s", 17.1e9),
        ("2.4 GHz", "hertz", 2.4e9),
        ("153.6 Gop/s", "ops/s", 153.6e9),
        ("5ms", "seconds", 0.005),
        ("20 us", "seconds", 20e-6),
        ("1e3 s", "seconds", 1000),
    ],
)
def test_parse(text: str, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "512", "KiB", "-1KiB", "1 kib", "1e999x", "5 ms", "1 B/s"])
def test_what_is_no_size_is_quoted_with_the_units_that_fit(text: str) -> None:
    with pytest.raises(ValueError, match="MiB") as raised:
        parse_bytes(text)
    assert repr(text) in str(raised.value)


def test_what_is_too_large_for_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        parse_bytes("1e400 GB")


def test_a_size_is_whole_bytes() -> None:
    assert parse_bytes("0.5 KiB") == 512
    assert isinstance(parse_bytes("1.3KB"), int)


def test_format_bytes() -> None:
    assert format_bytes(0) == "0 B"
    assert format_bytes(10239) == "10,239 B"
    assert format_bytes(10240) == "10.00 KiB"
    assert format_bytes(1.5 * 2**20) == "1.50 MiB"
    assert format_bytes(2**31) == "2.00 GiB"
    assert format_bytes(2**45) == "32,768.00 GiB"


@given(st.integers(min_value=10240, max_value=2**50))
def test_a_formatted_size_reads_back_to_half_a_percent(count: int) -> None:
    text = format_bytes(count).replace(",", "")
    assert parse_bytes(text) == pytest.approx(count, rel=5e-3)


@given(st.floats(min_value=1e-9, max_value=1e5))
def test_a_formatted_time_reads_back_to_half_a_percent(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=5e-3)
