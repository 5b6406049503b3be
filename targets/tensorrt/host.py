"""On which machines an engine can be made for a device: on those with the same kind of CPU.

"The engine constructed by TensorRT can only run on the identical platform it was built on", says
the API of `RuntimePlatform.SAME_AS_BUILD`; the one other that it knows is Windows on AMD64.
"""

from __future__ import annotations

import platform
from typing import Final

from ...errors import Problem
from ...profiles.schema import Profile

#: What `platform.machine` says on other systems than Linux.
_NAMES: Final = {"AMD64": "x86_64", "ARM64": "aarch64", "arm64": "aarch64"}


def elsewhere(profile: Profile) -> list[Problem]:
    """Return why an engine that is built here would not run on the device; empty if it would."""
    here = _NAMES.get(platform.machine(), platform.machine())
    if profile.gpu is None or profile.gpu.host == here:
        return []
    others = [item.name for item in profile.runtimes[1:]]
    instead = f", or take --runtime {' or '.join(others)}" if others else ""
    return [
        Problem(
            f"{profile.name}, whose CPU is {profile.gpu.host}",
            f"a TensorRT-RTX engine runs on the platform that built it, and this one is {here}",
            f"compile on {profile.gpu.host}{instead}",
        )
    ]
