from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tapeout.bundle import Quantization
from tapeout.data import match_inputs, pieces, read_data, read_npz, real_numbers, stack
from tapeout.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Spec:
    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    quantization: Quantization | None = None


IMAGE = Spec("image", (2, 3))


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def test_arrays_are_matched_by_name(tmp_path: Path) -> None:
    file = saved(tmp_path / "x.npz", image=np.ones((4, 3)), labels=np.arange(4), other=np.ones(2))
    data = read_data(str(file), [IMAGE])
    assert data.feeds["image"].dtype == np.float32
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]


def test_a_key_feeds_the_only_input(tmp_path: Path) -> None:
    file = saved(tmp_path / "x.npz", test=np.ones((2, 3), np.uint8))
    assert read_data(f"{file}:test", [IMAGE]).feeds["image"].sum() == 6
    with pytest.raises(UsageError, match="no array 'other'; it has: test"):
        read_data(f"{file}:other", [IMAGE])
    with pytest.raises(UsageError, match="2 inputs: image, mask"):
        read_data(f"{file}:test", [IMAGE, Spec("mask", (2, 3))])


def test_every_array_that_does_not_fit_is_named(tmp_path: Path) -> None:
    inputs = [Spec(name, (2, 3)) for name in ("missing", "shape", "batch", "dtype", "nan")]
    file = saved(
        tmp_path / "x.npz",
        shape=np.ones((2, 4)),
        batch=np.ones((3, 3)),
        dtype=np.ones((2, 3), complex),
        nan=np.full((2, 3), np.nan),
    )
    with pytest.raises(UsageError) as raised:
        read_data(str(file), inputs)
    assert [problem.where for problem in raised.value.problems] == [item.name for item in inputs]


def test_a_real_number_does_not_become_an_integer(tmp_path: Path) -> None:
    file = saved(tmp_path / "x.npz", token=np.ones((1,)))
    with pytest.raises(UsageError, match="dtype float64, the model takes int64"):
        read_data(str(file), [Spec("token", (1,), "int64")])


def test_inputs_and_labels_have_the_same_number_of_samples(tmp_path: Path) -> None:
    other = Spec("other", (1, 3))
    file = saved(tmp_path / "x.npz", image=np.ones((4, 3)), other=np.ones((4, 3)))
    with pytest.raises(UsageError, match="different numbers of samples"):
        read_data(str(file), [IMAGE, other])
    file = saved(tmp_path / "y.npz", image=np.ones((4, 3)), labels=np.ones(3))
    with pytest.raises(UsageError, match="labels"):
        read_data(str(file), [IMAGE])


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "x.npz", image=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match="image.npy: holds Python objects"):
        read_npz(file)


def test_a_header_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("image.npy", buffer.getvalue() + b"1234")
    with pytest.raises(UsageError, match="declares 4000000000000 bytes but holds 4"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_npz_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UsageError, match="x.npz is not an .npz file"):
        read_npz(tmp_path / "x.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read .*x.npz: No such file"):
        read_npz(tmp_path / "x.npz")


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    file = saved(tmp_path / "x.npz", image=np.ones((2, 300)))
    content = bytearray(file.read_bytes())
    content[400] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match="x.npz is damaged"):
        read_npz(file)


def test_pieces_and_stack_are_inverse() -> None:
    feeds = {"image": np.arange(18).reshape(6, 3), "scale": np.array(2.0)}
    inputs = [IMAGE, Spec("scale", ())]
    cut = pieces(feeds, inputs)
    assert [piece["image"].shape for piece in cut] == [(2, 3)] * 3
    assert np.array_equal(
        stack([{"image": piece["image"]} for piece in cut])["image"], feeds["image"]
    )


STORED = Spec("image", (2, 3), "int8", Quantization(scale=(0.5,), zero_point=(-3,)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32"])
def test_real_numbers_are_rounded_to_the_integers_of_an_input(dtype: str) -> None:
    reals = np.array([[0, 1, 2], [3, 50, 100]], dtype)
    found = match_inputs({"image": reals}, [STORED], "x.npz")["image"]
    assert found.dtype == np.int8
    assert found.tolist() == [[-3, -1, 1], [3, 97, 127]]
    again = match_inputs({"image": found}, [STORED], "x.npz")["image"]
    np.testing.assert_array_equal(again, found)
    back = real_numbers({"image": found, "other": reals}, [STORED])
    assert back["image"].tolist() == [[0, 1, 2], [3, 50, 65]]
    assert back["other"] is reals


def test_rounding_goes_to_the_even_integer_and_refuses_what_is_no_number() -> None:
    ties = np.array([[0.25, 0.75, -0.25], [1e30, -1e30, 0.26]])
    found = match_inputs({"image": ties}, [STORED], "x.npz")["image"]
    assert found.tolist() == [[-3, -1, -3], [127, -128, -2]]
    for wrong, what in ((np.full((2, 3), np.nan), "NaN"), (np.ones((2, 3), complex), "complex128")):
        with pytest.raises(UsageError) as raised:
            match_inputs({"image": wrong}, [STORED], "x.npz")
        assert what in raised.value.problems[0].what
    with pytest.raises(UsageError) as raised:
        match_inputs({"image": np.ones((2, 3))}, [Spec("image", (2, 3), "int8")], "x.npz")
    assert raised.value.problems[0].what == "has dtype float64, the model takes int8"
