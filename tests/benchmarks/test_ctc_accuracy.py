"""The accuracy benchmark: that its cases are what it says, and that it finds what is wrong."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """It runs as a script, beside its part."""
    sys.path.insert(0, str(BENCHMARKS))
    yield [importlib.import_module(name) for name in ("ctc_accuracy", "ctc_accuracy_cases")]
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def run(modules):
    before, app = torch.get_num_threads(), Typer()
    app.command()(modules[0].main)
    yield lambda *arguments: CliRunner().invoke(app, list(arguments))
    torch.set_num_threads(before)


def test_cases_are_as_many_as_asked_for_and_the_same_again(modules):
    batches, again = (list(modules[1].drawn_batches(120, seed=3)) for _ in range(2))
    assert sum(len(batch.kinds) for batch in batches) == 120
    for one, other in zip(batches, again, strict=True):
        torch.testing.assert_close(one.logits, other.logits, atol=0, rtol=0, equal_nan=True)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.parametrize("kind", ["cold", "collapsed", "peaky", "masked"])
def test_a_gradient_that_is_wrong_is_found(modules, monkeypatch, kind):
    accuracy, cases = modules
    batch = next(batch for batch in cases.drawn_batches(2000, seed=0) if kind in batch.kinds and len(batch.logits) > 4)
    n, right = batch.kinds.index(kind), accuracy.answers

    def spoiled(batch, route):
        ours, theirs, reference = right(batch, route)
        theirs = reference  # torch without error
        ours = reference._replace(gradient=reference.gradient.clone())
        ours.gradient[0, n] += 1e-5
        return ours, theirs, reference

    monkeypatch.setattr(accuracy, "answers", spoiled)
    found = [case.sample for case in accuracy.judged(batch, "logits") if case.breaks_the_rule]
    assert n in found


def test_the_report(run, tmp_path):
    out = tmp_path / "report.md"
    result = run("--cases", "60", "--seed", "1", "--out", str(out))
    text = out.read_text(encoding="utf-8")
    assert "| logits | all | 60 |" in text
    assert "| log_probs | all | 60 |" in text
    broken = int(text.split("Cases that break the rule: ")[1].split()[0])
    assert result.exit_code == (1 if broken else 0)
