"""What the CUDA kernels compile to, for every architecture, without a GPU.

Prints a table of registers, shared memory and barriers and writes it to ``results/ctc_cuda_compile.md``. The compiler
of numba-cuda makes the PTX; ``ptxas`` (of the CUDA toolkit), where it is installed, assembles it and counts registers.
A kernel passes if its PTX holds no float64 and no local memory, if it does not spill, and if its largest block finds
enough registers.

Run: python benchmarks/ptx_report.py
"""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

ARCHITECTURES = ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
RESULT = Path(__file__).parent / "results" / "ctc_cuda_compile.md"
REGISTER_FILE = 65536  # of a multiprocessor, on all of these architectures


class Subject(NamedTuple):
    """A kernel to compile: with these argument types, for blocks of at most so many threads."""

    name: str
    function: Callable[..., Any]
    signature: Any
    threads: int


class Assembled(NamedTuple):
    """What ptxas says of a kernel."""

    registers: int
    stack: int  # bytes of local memory
    spills: int  # bytes stored and loaded
    shared: int  # bytes of static shared memory
    barriers: int


def subjects() -> list[Subject]:
    """Every CUDA kernel of the project, once for each type of scores or place of memory."""
    from minicrnn_kernels import ctc_cuda
    from minicrnn_kernels.ctc_cuda_arguments import signature_of

    variants = {"frames": ctc_cuda.DTYPES, "gradient": ctc_cuda.DTYPES, "recursion": ("shared", "scratch")}
    found = [
        Subject(f"{name} {variant}", ctc_cuda.KERNELS[name](variant), signature_of(name, variant), threads)
        for name, threads in ctc_cuda.LARGEST_BLOCK.items()
        for variant in variants[name]
    ]
    return found + readable_subjects()


def readable_subjects() -> list[Subject]:
    """The kernels to be read, with the arrays that their launcher passes."""
    from numba import float32, int64, void

    from minicrnn_kernels import ctc_cuda_readable as readable

    cube, table, row = float32[:, :, ::1], int64[:, ::1], int64[::1]
    problem = (cube, table, row, row, int64)
    rows, losses = float32[:, ::1], float32[::1]
    signatures = {
        "alpha_kernel": void(*problem, rows, cube, losses),
        "beta_kernel": void(*problem, rows, cube),
        "gradient_kernel": void(*problem, cube, cube, losses, losses, cube),
    }
    return [
        Subject(f"readable {name}", getattr(readable, name).py_func, signature, readable.MAX_THREADS)
        for name, signature in signatures.items()
    ]


@contextlib.contextmanager
def pretended_device(cc: tuple[int, int]) -> Iterator[None]:
    """numba-cuda asks the current device for its architecture when a kernel calls a device function: answer for it."""
    from numba.cuda import dispatcher

    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def compile_ptx(subject: Subject, cc: tuple[int, int]) -> str:
    """PTX of a kernel. It takes no GPU and no driver."""
    from numba import cuda

    with pretended_device(cc):
        ptx, _ = cuda.compile(
            subject.function,
            subject.signature,
            cc=cc,
            device=False,
            abi="numba",
            output="ptx",
            launch_bounds=subject.threads,
        )
    return ptx


def faults_of_ptx(ptx: str) -> list[str]:
    """What a kernel must not hold."""
    faults = []
    if re.search(r"\.f64\b", ptx):
        faults.append("float64 arithmetic")
    if re.search(r"\.local\b|__local_depot", ptx):
        faults.append("local memory")
    return faults


def assemble(ptx: str, cc: tuple[int, int], ptxas: str) -> Assembled:
    """Assemble PTX and read what ptxas says.

    Raises:
        RuntimeError: ptxas does not accept it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"

        def run() -> str:
            source.write_text(ptx)
            command = [ptxas, "-v", f"-arch=sm_{cc[0]}{cc[1]}", str(source), "-o", str(Path(folder) / "kernel.cubin")]
            return subprocess.run(command, capture_output=True, text=True, check=False).stderr

        said = run()
        # The compiler may be newer than ptxas, and name a version of PTX of which it uses nothing new.
        known = re.search(r"Unsupported \.version .*current version is '([\d.]+)'", said)
        if known:
            ptx = re.sub(r"^\.version [\d.]+", f".version {known.group(1)}", ptx, flags=re.MULTILINE)
            said = run()
    registers = re.search(r"Used (\d+) registers", said)
    if registers is None:
        raise RuntimeError(f"ptxas: {said}")

    def count(pattern: str) -> int:
        return sum(int(number) for number in re.findall(pattern, said))

    spills = count(r"(\d+) bytes spill stores") + count(r"(\d+) bytes spill loads")
    stack, shared = count(r"(\d+) bytes stack frame"), count(r"(\d+) bytes smem")
    return Assembled(int(registers.group(1)), stack, spills, shared, count(r"used (\d+) barriers"))


def faults_of_assembled(assembled: Assembled, threads: int) -> list[str]:
    """What ptxas must not say of a kernel whose largest block has so many threads."""
    faults = []
    if assembled.spills or assembled.stack:
        faults.append(f"{assembled.spills} bytes of spills, {assembled.stack} bytes of stack")
    if assembled.registers * threads > REGISTER_FILE:
        faults.append(f"{assembled.registers} registers are too many for a block of {threads} threads")
    return faults


def report(architectures: tuple[tuple[int, int], ...] = ARCHITECTURES) -> tuple[str, list[str]]:
    """The table in Markdown, and what is wrong."""
    ptxas = shutil.which("ptxas")
    names = [f"sm_{major}{minor}" for major, minor in architectures]
    lines = [
        "# CUDA kernels as compiled",
        "",
        "Made by `python benchmarks/ptx_report.py`. Registers a thread for each architecture, by ptxas; no kernel has",
        "float64 instructions, local memory or spills. The recursion's shared memory is asked for at the launch.",
        "",
        "| kernel | largest block | static shared | barriers | " + " | ".join(names) + " |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    faults = []
    for subject in subjects():
        registers, shared, barriers = [], "–", "–"
        for cc, name in zip(architectures, names, strict=True):
            ptx = compile_ptx(subject, cc)
            found = faults_of_ptx(ptx)
            if ptxas is None:
                registers.append("–")
            else:
                assembled = assemble(ptx, cc, ptxas)
                found += faults_of_assembled(assembled, subject.threads)
                registers.append(str(assembled.registers))
                shared, barriers = str(assembled.shared), str(assembled.barriers)
            faults += [f"{subject.name}, {name}: {fault}" for fault in found]
        row = (subject.name, str(subject.threads), shared, barriers, *registers)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n", faults


def main() -> int:
    """Print the table, keep it, and say what is wrong."""
    table, faults = report()
    print(table)
    for fault in faults:
        print("FAULT", fault)
    if not faults and shutil.which("ptxas"):
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
