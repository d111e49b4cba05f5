"""From one source per chapter to the student's notebook and the solved one.

    python tutorials/build.py [NN …]               write both; outputs stay where the code is the same
    python tutorials/build.py [NN …] --execute     run the solved one and keep its outputs
    python tutorials/build.py --check              write nothing; fail if a notebook does not belong to its source
    python tutorials/build.py --check --execute    and run both: every exercise's check must pass, and say "not yet"

NN … are chapters, all by default. A source (``sources/NN_name.py``, jupytext's percent format) says what is stripped:

- between ``# BEGIN SOLUTION`` and ``# END SOLUTION`` the student finds ``raise NotImplementedError("your turn")``, or
  what lines ``# student: CODE`` in there say;
- a cell with the tag ``solution`` is in the solved notebook only.
"""

import argparse
import copy
import re
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).parent
SOURCES, SOLVED = HERE / "sources", HERE / "solved"
STUDENT = HERE.parent / "minicrnn" / "tutorials" / "notebooks"  # in the package, so that an installed one has them
REGION = re.compile(r"^( *)# BEGIN SOLUTION\n(.*?)^ *# END SOLUTION\n?", re.MULTILINE | re.DOTALL)
STUDENTS_LINE = re.compile(r"^( *)# student: ?(.*)\n?", re.MULTILINE)
CHECK_CALL = re.compile(r"^check_\w+\(", re.MULTILINE)
COMPILING = re.compile(r"compiling the kernel .*: (once|at each start)")
LIMIT_KB = 400
TIMEOUT = 600  # seconds a cell: only so that nothing hangs for ever
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class BuildError(Exception):
    """A notebook that does not belong to its source, or does not do what it should."""


def student(source: NotebookNode) -> NotebookNode:
    """The notebook without solutions and outputs."""
    cells = [copy.deepcopy(cell) for cell in source.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in cells:
        if cell.cell_type == "code":
            cell.source = REGION.sub(_stub, cell.source + "\n").rstrip("\n")
    return _notebook(cells)


def solved(source: NotebookNode) -> NotebookNode:
    """The notebook with solutions, not executed."""
    cells = [copy.deepcopy(cell) for cell in source.cells]
    for cell in cells:
        if cell.cell_type == "code":
            cell.source = REGION.sub(lambda m: STUDENTS_LINE.sub("", m[2]), cell.source + "\n").rstrip("\n")
    return _notebook(cells)


def _stub(region: re.Match[str]) -> str:
    lines = [f"{indent}{code}".rstrip() for indent, code in STUDENTS_LINE.findall(region[2])]
    return "\n".join(lines or [f'{region[1]}raise NotImplementedError("your turn")']) + "\n"


def _notebook(cells: list[NotebookNode]) -> NotebookNode:
    """A notebook whose cells are named by what is in them, so that the same source gives the same file."""
    seen: set[str] = set()
    for cell in cells:
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags" and value}
        cell.id = sha256(cell.source.encode()).hexdigest()[:8]
        while cell.id in seen:
            cell.id = sha256(cell.id.encode()).hexdigest()[:8]
        seen.add(cell.id)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.validate(notebook)
    return notebook


def execute(notebook: NotebookNode) -> NotebookNode:
    """The same notebook, run in a folder of its own.

    Raises:
        BuildError: a cell raises, or writes to the standard error (a warning, most often).
    """
    done = copy.deepcopy(notebook)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        options = {"kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"], "record_timing": False}
        try:
            NotebookClient(done, timeout=TIMEOUT, resources=where, **options).execute()
        except CellExecutionError as error:
            raise BuildError(f"a cell fails:\n{error}") from error
    for cell in _code_cells(done):
        cell.outputs = [output for output in cell.outputs if not _of_compiling(output)]
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise BuildError(f"a cell writes to the standard error:\n{cell.source}\n{output.text}")
            output.pop("metadata", None)
            if output.output_type in ("execute_result", "display_data"):
                output.metadata = {}
                if "image/png" in output.data:
                    output.data["image/png"] = _with_a_palette(output.data["image/png"])
    return done


def _of_compiling(output: NotebookNode) -> bool:
    """What the first call of a kernel says, if compiling it takes long; that is no warning, and comes once."""
    text = output.get("text", "")
    return output.get("name") == "stderr" and all(COMPILING.match(line) for line in text.splitlines())


def _with_a_palette(png: str) -> str:
    """A picture with 256 colours of its own: it looks the same and has a third of the bytes. In and out in base 64."""
    picture, smaller = Image.open(BytesIO(b64decode(png))).convert("RGB"), BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return b64encode(smaller.getvalue()).decode()


def require_verdicts(notebook: NotebookNode, beginning: str) -> int:
    """Every cell that calls a check must say "passed", or "not yet"; returns how many there are.

    Raises:
        BuildError: one does not, or there is none.
    """
    checked = [cell for cell in _code_cells(notebook) if CHECK_CALL.search(cell.source)]
    for cell in checked:
        said = "".join(str(o.get("data", {}).get("text/plain", o.get("text", ""))) for o in cell.outputs)
        if not said.startswith(beginning):
            raise BuildError(f"{cell.source!r} should say {beginning!r} and says: {said or 'nothing'}")
    if not checked:
        raise BuildError("there is no exercise with a check")
    return len(checked)


def same_cells(one: NotebookNode, other: NotebookNode) -> bool:
    """Whether two notebooks have the same cells, outputs aside."""
    return [_essence(cell) for cell in one.cells] == [_essence(cell) for cell in other.cells]


def _essence(cell: NotebookNode) -> tuple[str, str, str, list[str]]:
    return cell.cell_type, cell.id, cell.source, list(cell.metadata.get("tags", []))


def with_outputs_of(notebook: NotebookNode, older: NotebookNode) -> NotebookNode:
    """The notebook with the older one's outputs, if all its code is the same; else without outputs."""
    mine, theirs = _code_cells(notebook), _code_cells(older)
    if [cell.source for cell in mine] == [cell.source for cell in theirs]:
        for cell, old in zip(mine, theirs, strict=True):
            cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return notebook


def _code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _read(path: Path) -> NotebookNode:
    if not path.exists():
        raise BuildError(f"{path} is missing: run python tutorials/build.py {path.stem[:2]} --execute")
    return nbformat.read(path, as_version=4)


def _text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1) + "\n"


def write(path: Path, *, run: bool) -> str:
    """Write both notebooks of a source; returns what there is to say."""
    source = jupytext.read(path, fmt="py:percent")
    began, made = time.perf_counter(), solved(source)
    if run:
        made = execute(made)
        require_verdicts(made, "passed")
    elif (SOLVED / f"{path.stem}.ipynb").exists():
        made = with_outputs_of(made, _read(SOLVED / f"{path.stem}.ipynb"))
    for folder, notebook in ((STUDENT, student(source)), (SOLVED, made)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{path.stem}.ipynb").write_text(_text(notebook), encoding="utf-8")
    note = "" if _has_outputs(made) else "; its code has changed: run with --execute"
    return f"{time.perf_counter() - began:6.1f} s  {_size_kb(made):4.0f} kB{note}"


def check(path: Path, *, run: bool) -> str:
    """Compare the stored notebooks of a source with what it gives; run both if asked to.

    Raises:
        BuildError: they differ, the solved one has no outputs or is too large, or does not run as it should.
    """
    source = jupytext.read(path, fmt="py:percent")
    stored = _read(SOLVED / f"{path.stem}.ipynb")
    again = f"run python tutorials/build.py {path.stem[:2]}"
    if not same_cells(solved(source), stored):
        raise BuildError(f"the solved notebook is not that of the source: {again}")
    if _text(student(source)) != _text(_read(STUDENT / f"{path.stem}.ipynb")):
        raise BuildError(f"the student's notebook is not that of the source: {again}")
    if not _has_outputs(stored):
        raise BuildError("the solved notebook has no outputs: run with --execute")
    require_verdicts(stored, "passed")
    if _size_kb(stored) >= LIMIT_KB:
        raise BuildError(f"the solved notebook has {_size_kb(stored):.0f} kB; {LIMIT_KB} is the limit")
    if not run:
        return f"{_size_kb(stored):4.0f} kB"
    began = time.perf_counter()
    exercises = require_verdicts(execute(solved(source)), "passed")
    middle = time.perf_counter()
    require_verdicts(execute(student(source)), "not yet")
    ended = time.perf_counter()
    times = f"solved {middle - began:5.1f} s  student {ended - middle:5.1f} s"
    return f"{_size_kb(stored):4.0f} kB  {exercises} checks  {times}"


def _has_outputs(notebook: NotebookNode) -> bool:
    return any(cell.outputs for cell in _code_cells(notebook))


def _size_kb(notebook: NotebookNode) -> float:
    return len(_text(notebook).encode()) / 1000


def strangers() -> list[Path]:
    """Notebooks without a source."""
    sources = {path.stem for path in SOURCES.glob("*.py")}
    return [path for folder in (SOLVED, STUDENT) for path in folder.glob("*.ipynb") if path.stem not in sources]


def main(arguments: list[str] | None = None) -> int:
    """Build or check; returns how many chapters failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="their numbers or the beginnings of their names; all by default")
    parser.add_argument("--execute", action="store_true", help="run the notebooks")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args(arguments)
    paths = sorted(SOURCES.glob("*.py"))
    if options.chapters:
        paths = [path for path in paths if path.stem.startswith(tuple(options.chapters))]
    if not paths:
        parser.error(f"no chapter of {SOURCES} begins with {' or '.join(options.chapters)}")
    failed = 0
    for path in paths:
        try:
            print(f"{path.stem:<28}", (check if options.check else write)(path, run=options.execute), flush=True)
        except BuildError as error:
            failed += 1
            print(f"{path.stem:<28} FAILED: {error}", flush=True)
    for path in strangers() if options.check else []:
        failed += 1
        print(f"{path}: has no source: delete it")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
