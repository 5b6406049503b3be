from __future__ import annotations

import pytest

from tapeout.errors import TapeoutError
from tapeout.targets.tvm.cuda import cubin, nvrtc

SOURCE = """
#include <cuda_fp16.h>
#include <cuda/std/cstdint>
extern "C" __global__ void %s(half* x) { x[threadIdx.x] = __float2half(1.0f); }
"""


def test_a_binary_says_which_card_it_is_for_and_repeats_byte_for_byte() -> None:
    made = {
        architecture: nvrtc.compile_kernels(SOURCE % "ones", architecture)
        for architecture in ("sm_90", "sm_80")
    }
    for architecture, content in made.items():
        assert cubin.find(content) == [cubin.Cubin(architecture, ("ones",))]
    assert nvrtc.compile_kernels(SOURCE % "ones", "sm_90") == made["sm_90"]
    # Within other bytes, beside what only looks like one, and cut off.
    around = b"\x7fELF?" + made["sm_90"] + b"\x7fELF" + bytes(100) + made["sm_80"]
    assert [item.architecture for item in cubin.find(around)] == ["sm_90", "sm_80"]
    assert cubin.find(made["sm_90"][:200]) == []
    assert cubin.find(b"") == []


def test_what_nvrtc_says_of_a_wrong_source_is_shown() -> None:
    with pytest.raises(TapeoutError, match="NVRTC does not compile the kernels for sm_90") as error:
        nvrtc.compile_kernels('extern "C" __global__ void f() { absent(); }', "sm_90")
    assert 'identifier "absent" is undefined' in str(error.value)
