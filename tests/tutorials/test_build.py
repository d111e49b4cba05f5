"""From a source to the two notebooks: what is stripped, what is kept, and what is refused."""

import importlib.util
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = '''# %% [markdown]
# # 99 · A chapter

# %%
def half(n):
    """Half of it."""
    # BEGIN SOLUTION
    return n // 2
    # END SOLUTION


# %%
print("passed" if CONDITION else "not yet")
check_half(half)

# %%
# BEGIN SOLUTION
stack = [1, 2]
# student: stack = None  # your turn
# END SOLUTION

# %% [markdown] tags=["solution"]
# The derivation.
'''


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("tutorials_build", ROOT / "tutorials" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folders(build, tmp_path, monkeypatch):
    """A source in folders of its own."""
    for name in ("SOURCES", "SOLVED", "STUDENT"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setattr(build, name, folder)
    path = build.SOURCES / "99_half.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def source(text=SOURCE):
    return jupytext.reads(text, fmt="py:percent")


def test_student_finds_stubs(build):
    cells = build.student(source()).cells
    assert cells[1].source == 'def half(n):\n    """Half of it."""\n    raise NotImplementedError("your turn")'
    assert cells[3].source == "stack = None  # your turn"
    assert len(cells) == 4


def test_solved_keeps_the_solution_without_its_markers(build):
    cells = build.solved(source()).cells
    assert cells[1].source == 'def half(n):\n    """Half of it."""\n    return n // 2'
    assert cells[3].source == "stack = [1, 2]"
    assert cells[4].source == "The derivation."


def test_the_same_source_gives_the_same_file(build):
    assert build._text(build.student(source())) == build._text(build.student(source()))
    twice = build.solved(source(SOURCE + "\n# %%\nstack\n\n# %%\nstack\n"))
    assert len({cell.id for cell in twice.cells}) == len(twice.cells)


def stored(build, path, **outputs):
    """Write both notebooks, and give the solved one the outputs that an execution would."""
    build.write(path, run=False)
    solved = build.SOLVED / f"{path.stem}.ipynb"
    notebook = nbformat.read(solved, 4)
    text = outputs.get("text", "passed: half")
    notebook.cells[2].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": text}, execution_count=1)]
    solved.write_text(build._text(notebook), encoding="utf-8")
    return solved


def test_check_accepts_what_was_built(build, folders):
    stored(build, folders)
    assert "kB" in build.check(folders, run=False)
    assert build.strangers() == []


def test_prose_may_change_without_losing_outputs_but_check_notices(build, folders):
    stored(build, folders)
    folders.write_text(SOURCE.replace("A chapter", "The chapter"), encoding="utf-8")
    with pytest.raises(build.BuildError, match="the solved notebook is not that of the source"):
        build.check(folders, run=False)
    assert "has changed" not in build.write(folders, run=False)
    build.check(folders, run=False)


def test_code_that_changes_loses_its_outputs(build, folders):
    stored(build, folders)
    folders.write_text(SOURCE.replace("n // 2", "n >> 1"), encoding="utf-8")
    assert "run with --execute" in build.write(folders, run=False)
    with pytest.raises(build.BuildError, match="no outputs"):
        build.check(folders, run=False)


def test_check_refuses_an_edited_student_notebook(build, folders):
    stored(build, folders)
    student = build.STUDENT / "99_half.ipynb"
    student.write_text(student.read_text("utf-8").replace("your turn", "yours"), encoding="utf-8")
    with pytest.raises(build.BuildError, match="student's notebook"):
        build.check(folders, run=False)


def test_check_refuses_an_unsolved_exercise_a_large_file_and_a_missing_one(build, folders, monkeypatch):
    stored(build, folders, text="not yet: half")
    with pytest.raises(build.BuildError, match="should say 'passed'"):
        build.check(folders, run=False)
    solved = stored(build, folders)
    monkeypatch.setattr(build, "LIMIT_KB", 1)
    with pytest.raises(build.BuildError, match="1 is the limit"):
        build.check(folders, run=False)
    solved.unlink()
    with pytest.raises(build.BuildError, match="is missing"):
        build.check(folders, run=False)


def test_a_notebook_without_a_source_is_a_stranger(build, folders, capsys):
    stored(build, folders)
    (build.STUDENT / "98_other.ipynb").write_text("{}", encoding="utf-8")
    assert [path.name for path in build.strangers()] == ["98_other.ipynb"]
    assert build.main(["--check"]) == 1
    assert "has no source" in capsys.readouterr().out


def executed(build, code):
    return build.execute(build._notebook([nbformat.v4.new_code_cell(code)]))


def test_execution_keeps_outputs_and_refuses_errors_and_warnings(build):
    cell = executed(build, "print('passed')\n6 * 7").cells[0]
    assert cell.outputs[0].text == "passed\n"
    assert cell.outputs[1].data["text/plain"] == "42"
    with pytest.raises(build.BuildError, match="ZeroDivisionError"):
        executed(build, "1 / 0")
    with pytest.raises(build.BuildError, match="standard error"):
        executed(build, "import sys; print('careful', file=sys.stderr)")


def test_what_a_new_installation_says_of_compiling_is_dropped(build):
    cell = executed(build, "import sys; print('compiling the kernel x: once, …', file=sys.stderr)\n1").cells[0]
    assert [output.output_type for output in cell.outputs] == ["execute_result"]


def test_all_notebooks_belong_to_their_sources(build, capsys):
    assert build.main(["--check"]) == 0, capsys.readouterr().out
