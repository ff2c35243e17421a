"""CUDA C++ on the processor: a kernel compiled by g++, its grid run as loops."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

COMPILER = shutil.which("g++") or shutil.which("clang++")
# Products and sums are rounded apart on the device too.
OPTIONS = ("-O2", "-std=c++17", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Werror")
BEFORE = """
#include <math.h>
#define __global__
#define __device__ static inline
struct Index { int x, y, z; };
static Index blockIdx, blockDim, threadIdx;
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
"""
AFTER = """
extern "C" void run_grid(int grid_x, int grid_y, int block_x, int block_y, {parameters}) {{
    blockDim = {{block_x, block_y, 1}};
    for (blockIdx.y = 0; blockIdx.y < grid_y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x)
            for (threadIdx.y = 0; threadIdx.y < block_y; ++threadIdx.y)
                for (threadIdx.x = 0; threadIdx.x < block_x; ++threadIdx.x) {function}({names});
}}
"""


@lru_cache(maxsize=4)
def compile_for_host(source: str, function: str) -> Callable[..., None]:
    """The kernel as a function (grid x, grid y, block x, block y, *arguments); skips without a compiler."""
    if COMPILER is None:
        pytest.skip("no C++ compiler (g++ or clang++) is here")
    found = re.search(rf"__global__ void {function}\((.*?)\)\s*{{", source, re.S)
    assert found
    parameters = " ".join(found[1].split())
    names = ", ".join(part.split()[-1].lstrip("*") for part in parameters.split(","))
    with tempfile.TemporaryDirectory() as folder:
        text, library = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        text.write_text(BEFORE + source + AFTER.format(parameters=parameters, names=names, function=function))
        subprocess.run([COMPILER, *OPTIONS, "-o", str(library), str(text)], check=True)
        run: Callable[..., None] = ctypes.CDLL(str(library)).run_grid
    return run
