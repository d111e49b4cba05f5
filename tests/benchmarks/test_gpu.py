"""The GPU benchmark where there is no GPU: that it claims nothing, and the parts of it that can run here."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from minicrnn import use_backend
from tests.ctc.problems import normal

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NO_GPU = "There is no CUDA device here: nothing was checked, and nothing was measured.\n"


@pytest.fixture(scope="module")
def modules():
    """gpu.py runs as a script, beside its parts."""
    sys.path.insert(0, str(BENCHMARKS))
    yield [importlib.import_module(name) for name in ("gpu", "gpu_checks", "gpu_times")]
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def run(modules):
    import typer

    app = typer.Typer()
    app.command()(modules[0].main)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_without_a_gpu_it_says_so_and_writes_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "report.md"
    result = run("--out", str(out))
    assert (result.exit_code, result.output) == (0, NO_GPU)
    assert not out.exists()


def test_without_numba_cuda_it_names_the_extra(run, modules, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(modules[0], "why_no_cuda", lambda: "numba-cuda is not installed")
    result = run()
    assert result.exit_code == 1
    assert 'numba-cuda is not installed: pip install "minicrnn[cuda]"' in result.output


@pytest.fixture
def pretend(modules, monkeypatch):
    """A GPU on which everything is as the test says."""
    gpu, checks, times = modules
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "why_no_cuda", lambda: "")
    monkeypatch.setattr(gpu, "environment", lambda: "a pretended GPU")
    monkeypatch.setattr(gpu, "sanitizer_checks", lambda: [checks.Check("compute-sanitizer", None, "not on the PATH")])
    monkeypatch.setattr(times, "copy_bandwidth", lambda: 2e12)
    rows = [times.Row((24, 64, 37, 8), {"minicrnn": 0.05, "torch native": 0.2, "cuDNN": None})]
    monkeypatch.setattr(times, "measure", lambda rounds: rows)
    return lambda *results: monkeypatch.setattr(checks, "all_checks", lambda cases: iter(results))


def test_the_report_is_written(run, modules, pretend, tmp_path):
    pretend(modules[1].Check("float32 against float64", True, "300 drawn cases"))
    out = tmp_path / "results" / "report.md"
    result = run("--out", str(out))
    assert result.exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "on a pretended GPU." in text
    assert "- float32 against float64: passed (300 drawn cases)" in text
    assert "- compute-sanitizer: not run (not on the PATH)" in text
    assert "| 24 | 64 | 37 | 8 | 0.050 | 0.200 | – |" in text
    assert text in result.output


def test_a_failed_check_is_told_and_nothing_is_timed(run, modules, pretend, tmp_path):
    pretend(modules[1].Check("determinism", False, "1 of 100 runs differ"))
    out = tmp_path / "report.md"
    result = run("--out", str(out))
    assert result.exit_code == 1
    assert "determinism: **FAILED** (1 of 100 runs differ)" in result.output
    assert "Times" not in out.read_text(encoding="utf-8")


def test_no_times_when_not_asked_for(run, modules, pretend):
    pretend(modules[1].Check("determinism", True, "0 of 100 runs differ"))
    assert "Times" not in run("--no-times").output


def test_table_and_floor(modules):
    times = modules[2]
    rows = [
        times.Row((256, 64, 8000, 40), {"minicrnn": 0.75, "torch native": 6.0, "cuDNN": 3.0, "readable kernels": 1.0}),
        times.Row((512, 256, 10000, 60), dict.fromkeys(("minicrnn", "torch native", "cuDNN", "readable kernels"))),
    ]
    lines = times.table(rows, bandwidth=3 * 1.024e9 * 512).splitlines()
    assert lines[0].startswith("| T | N | K | L | minicrnn | torch native | cuDNN | readable kernels | floor |")
    assert lines[2] == "| 256 | 64 | 8000 | 40 | 0.750 | 6.000 | 3.000 | 1.000 | 1.000 | 0.8 | 4.0 |"
    assert lines[3] == "| 512 | 256 | 10000 | 60 | – | – | – | – | 10.000 | – | – |"
    assert all(line.count("|") == lines[0].count("|") for line in lines[:4])


def test_memory(modules):
    enough = modules[2].enough_memory
    assert enough((512, 256, 10000, 60), 27 * 10**9)
    assert not enough((512, 256, 10000, 60), 24 * 10**9)


class TestChecks:
    """They run on any device, so that a check that cannot fail is found here."""

    def test_drawn_cases_are_valid_and_of_many_sizes(self, modules):
        shapes, infeasible = set(), 0
        for seed in range(60):
            case = modules[1].drawn(seed)
            T, N, K = case.scores.shape
            shapes.add((T, N, K, case.targets.shape[1]))
            assert ((case.targets >= 0) & (case.targets < K) & (case.targets != case.blank)).all()
            assert ((case.input_lengths >= 0) & (case.input_lengths <= T)).all()
            assert ((case.target_lengths >= 0) & (case.target_lengths <= case.targets.shape[1])).all()
            infeasible += int((case.target_lengths > case.input_lengths).sum())
        assert len(shapes) > 50
        assert infeasible > 0

    def test_agreement_is_seen_and_an_error_is_too(self, modules, monkeypatch):
        checks = modules[1]
        small = checks.Case(normal(6, 2, 4), torch.tensor([[1, 1], [2, 3]]), *torch.tensor([[6, 5], [2, 2]]), 0)
        monkeypatch.setattr(checks, "drawn", lambda seed: small)
        with use_backend("torch"):
            assert checks.agrees_with_float64("cpu", torch.float32, cases=3).passed
        right = checks.loss_and_gradient

        def wrong(case, *options):
            losses, gradient = right(case, *options)
            return losses, gradient + (1e-3 if case.scores.dtype == torch.float32 else 0)

        monkeypatch.setattr(checks, "loss_and_gradient", wrong)
        with use_backend("torch"):
            assert not checks.agrees_with_float64("cpu", torch.float32, cases=3).passed

    def test_different_bits_are_seen(self, modules, monkeypatch):
        checks = modules[1]
        monkeypatch.setattr(checks, "loss_and_gradient", lambda case, from_logits: (torch.rand(2), torch.zeros(2)))
        assert not checks.same_bits("cpu", runs=2).passed
        monkeypatch.setattr(checks, "loss_and_gradient", lambda case, from_logits: (torch.zeros(2), torch.zeros(2)))
        assert checks.same_bits("cpu", runs=2).passed

    @pytest.mark.parametrize(
        ("ours", "theirs", "expected"),
        [
            ([1.0, 2.0], [1.0, 2.5], 0.5 / 0.35),
            ([torch.inf, torch.nan], [torch.inf, torch.nan], 0.0),
            ([torch.inf], [-torch.inf], torch.inf),
            ([torch.inf], [1.0], torch.inf),
            ([1.0], [torch.inf], torch.inf),
            ([torch.nan], [1.0], torch.inf),
            ([], [], 0.0),
        ],
    )
    def test_excess(self, modules, ours, theirs, expected):
        excess = modules[1].excess(torch.tensor(ours), torch.tensor(theirs), (0.1, 0.1))
        assert excess == pytest.approx(expected)
