"""What the profiles call a processor and its features, LLVM must know by that name."""

from __future__ import annotations

import pytest
import tvm

from tapeout.profiles import catalog

ELF_MACHINES = {
    "x86_64-linux-gnu": 62,
    "aarch64-linux-gnu": 183,
    "aarch64-linux-android": 183,
    "armv7a-linux-gnueabihf": 40,
    "riscv64-linux-gnu": 243,
    "thumbv8m.main-none-eabihf": 40,
    "thumbv8.1m.main-none-eabihf": 40,
    "nvptx64-nvidia-cuda": 190,
}


COMPILED_FOR = [profile.name for profile in catalog.profiles() if profile.kind != "fpga"]


@pytest.mark.parametrize("name", COMPILED_FOR)
def test_llvm_knows_the_toolchain(name: str):
    toolchain = catalog.load(name).toolchain
    assert toolchain.triple in ELF_MACHINES
    assert tvm.get_global_func("target.llvm_is_valid_cpu")(toolchain.cpu, toolchain.triple)
    features = tvm.get_global_func("target.llvm_get_cpu_features")
    kind = {"kind": "llvm", "mtriple": toolchain.triple, "mcpu": toolchain.cpu}
    for feature in toolchain.features:
        sign, bare = feature[0], feature[1:]
        with_it = tvm.target.Target({**kind, "mattr": [f"+{bare}"]})
        assert bare in {str(known) for known in features(with_it)}, feature
        target = tvm.target.Target({**kind, "mattr": [feature]})
        assert (bare in {str(known) for known in features(target)}) == (sign == "+")
