"""Hatchling's part of the build: kernels are compiled before the wheel is packed, or it fails."""

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from build_kernels import RELEASE_ARCHITECTURES, BuildError, build, find_torch, why_no_cuda


class KernelsHook(BuildHookInterface[Any]):
    """OKULO_OPS_PURE=1 packs no kernels; OKULO_OPS_CUDA is "no" or the architectures to build."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if os.environ.get("OKULO_OPS_PURE") == "1":
            self.app.display_warning("OKULO_OPS_PURE=1: no kernels, operators will run in PyTorch")
            return
        try:
            build(os.environ.get("OKULO_OPS_CUDA") or self._architectures(version))
        except BuildError as error:
            self.app.abort(f"okulo-ops: {error}")
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        # Only now: a wheel without kernels must not pack what a checkout has compiled in place.
        build_data["artifacts"].append("src/okulo_ops/lib/*")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def _architectures(self, version: str) -> str:
        if version == "editable":
            return "auto"
        reason = why_no_cuda(find_torch())
        if reason:
            self.app.display_warning(f"no CUDA kernels: {reason}")
        return "no" if reason else RELEASE_ARCHITECTURES
