"""How CPU kernels are compiled and kept."""

import time
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import prange

from minicrnn_kernels import compiling
from minicrnn_kernels.compiling import cache_folder, compilation_notice, must_be_compiled, parallel_kernel

IMPORTS = {
    "one": "from minicrnn_kernels.two import loop\n",
    "two": "from minicrnn_kernels import three\nfrom numba import prange\n",
    "three": "from minicrnn_kernels.one import back\n",
    "four": "",
}


KERNEL = SimpleNamespace(__module__="minicrnn_kernels.winograd", __name__="forward")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder that stands in for that of the kernels."""
    for name, text in IMPORTS.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(compiling, "_FOLDER", tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    return tmp_path


def test_the_cache_is_new_when_a_file_changes_that_the_kernel_is_made_of(sources):
    before = cache_folder("one")
    assert before == cache_folder("one")
    assert before.parent == sources / "__pycache__"
    for name in ("one", "two", "three"):
        (sources / f"{name}.py").write_text(IMPORTS[name] + "# edited\n", encoding="utf-8")
        assert cache_folder("one") != before
        before = cache_folder("one")
    (sources / "four.py").write_text("# edited\n", encoding="utf-8")
    assert cache_folder("one") == before


def test_the_user_may_say_where_the_cache_is(sources, monkeypatch):
    usual = cache_folder("one")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(sources / "elsewhere"))
    assert cache_folder("one") == sources / "elsewhere" / usual.name


def add_up(x, sums):
    for n in prange(len(x)):
        total = 0.0
        for k in range(x.shape[1]):
            total += x[n, k]
        sums[n] = total


def test_a_kernel_is_kept_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    x, sums = np.arange(12.0).reshape(3, 4), np.zeros(3)
    first = parallel_kernel(add_up)
    assert str(tmp_path) == numba.config.CACHE_DIR
    assert must_be_compiled(first)
    first(x, sums)
    assert not must_be_compiled(first)
    assert sums.tolist() == [6, 22, 38]
    assert sum(first.stats.cache_misses.values()) == 1
    assert list(cache_folder(add_up.__module__).rglob("*.nbc"))
    again = parallel_kernel(add_up)
    again(x, sums)
    assert sum(again.stats.cache_hits.values()) == 1
    assert sum(again.stats.cache_misses.values()) == 0


def test_what_cannot_be_kept_need_not_be_compiled(monkeypatch):
    """Before it is needed, that is."""
    monkeypatch.setattr(compiling, "cache_folder", lambda module: None)
    assert not must_be_compiled(parallel_kernel(add_up))


def test_where_other_functions_are_kept_does_not_change_by_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def refuse(**options):
        assert str(tmp_path) != numba.config.CACHE_DIR
        raise OSError("read-only")

    monkeypatch.setattr(numba, "njit", refuse)
    with pytest.raises(OSError, match="read-only"):
        parallel_kernel(add_up)
    assert str(tmp_path) == numba.config.CACHE_DIR


@pytest.mark.parametrize(
    ("folder", "said"),
    [(".", "once, the machine code is kept"), (None, "at each start: no cache folder can be written")],
)
def test_a_long_compilation_is_announced_on_stderr(capsys, monkeypatch, folder, said):
    monkeypatch.setattr(compiling, "cache_folder", lambda module: folder)
    with compilation_notice(KERNEL):
        assert capsys.readouterr().err == ""
        time.sleep(1.3)
    captured = capsys.readouterr()
    assert captured.err == f"compiling the kernel winograd.forward: {said}\n"
    assert captured.out == ""


def test_a_short_one_is_not_even_if_it_fails(capsys):
    with pytest.raises(ValueError, match="wrong"), compilation_notice(KERNEL):
        raise ValueError("wrong")
    time.sleep(1.2)
    assert capsys.readouterr().err == ""
