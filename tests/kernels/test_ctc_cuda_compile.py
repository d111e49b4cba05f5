"""Every CUDA kernel compiles for every architecture, into what a GPU runs fast: see benchmarks/ptx_report.py.

Two architectures by default, all of them with ``HYPOTHESIS_PROFILE=deep``.
"""

import os
import shutil

import pytest

pytest.importorskip("numba.cuda", reason="numba-cuda is not installed: minicrnn[cuda]")

from numba import config, cuda, float32, void

from benchmarks import ptx_report as report

if config.ENABLE_CUDASIM:
    pytest.skip("the simulator of CUDA has no compiler", allow_module_level=True)

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
ARCHITECTURES = report.ARCHITECTURES if DEEP else ((7, 5), (9, 0))
PTXAS = shutil.which("ptxas")
VECTOR = float32[::1]


def subject(function, threads=1024):
    return report.Subject("a test's", function, void(VECTOR, VECTOR), threads)


@pytest.mark.parametrize("cc", ARCHITECTURES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
@pytest.mark.parametrize("name", [found.name for found in report.subjects()])
def test_compiles_to_what_a_gpu_runs_fast(name, cc):
    kernel = next(found for found in report.subjects() if found.name == name)
    ptx = report.compile_ptx(kernel, cc)
    assert f".target sm_{cc[0]}{cc[1]}" in ptx
    assert report.faults_of_ptx(ptx) == []
    if PTXAS:
        assembled = report.assemble(ptx, cc, PTXAS)
        assert report.faults_of_assembled(assembled, kernel.threads) == []
        if "readable" not in name:
            assert assembled.registers <= 64


def test_float64_is_found():
    def doubles(x, y):
        y[0] = x[0] * 1.1  # a plain number is a double

    assert report.faults_of_ptx(report.compile_ptx(subject(doubles), (9, 0))) == ["float64 arithmetic"]


def local_array(x, y):
    own = cuda.local.array(64, float32)
    for i in range(64):
        own[int(x[i])] = y[i]
    y[0] = own[int(x[64])]


def test_local_memory_is_found():
    assert report.faults_of_ptx(report.compile_ptx(subject(local_array), (9, 0))) == ["local memory"]


@pytest.mark.skipif(PTXAS is None, reason="ptxas, of the CUDA toolkit, is not installed")
def test_stack_spills_and_registers_are_found():
    assembled = report.assemble(report.compile_ptx(subject(local_array), (9, 0)), (9, 0), PTXAS)
    assert "bytes of stack" in report.faults_of_assembled(assembled, 1024)[0]
    assert report.faults_of_assembled(report.Assembled(64, 0, 0, 0, 0), 1024) == []
    assert "65 registers" in report.faults_of_assembled(report.Assembled(65, 0, 0, 0, 0), 1024)[0]
    assert "8 bytes of spills" in report.faults_of_assembled(report.Assembled(64, 0, 8, 0, 0), 1024)[0]


@pytest.mark.skipif(PTXAS is None, reason="ptxas, of the CUDA toolkit, is not installed")
def test_what_ptxas_refuses_is_an_error():
    with pytest.raises(RuntimeError, match="ptxas"):
        report.assemble("nonsense", (9, 0), PTXAS)
