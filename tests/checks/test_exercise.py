"""What a check says: which case failed, where, and what looks like the mistake."""

import numpy as np
import pytest
import torch

from minicrnn.checks.audit import audit
from minicrnn.checks.exercise import UNSOLVED, Compared, Judged, Wrong


def cases(rng):
    yield {"x": np.array([1.0, -2.0, 3.0]), "scale": 2.0}
    for _ in range(5):
        yield {"x": rng.normal(size=(int(rng.integers(1, 4)), 7, 9)), "scale": float(rng.normal())}


def doubled(x, scale):
    return x * scale, float(x.sum())


CHECK = Compared(
    "doubled",
    doubled,
    cases,
    (
        Wrong("added", lambda x, scale: (x + scale, float(x.sum())), "Multiply, do not add."),
        Wrong("mean", lambda x, scale: (x * scale, float(x.mean())), "A sum has no divisor."),
    ),
    outputs=("y", "total"),
)


def test_the_right_answer_passes():
    verdict = CHECK(doubled)
    assert verdict
    assert str(verdict) == "passed: doubled agrees with the reference in all of 6 cases."


def test_tensors_are_as_good_as_arrays():
    assert CHECK(lambda x, scale: (torch.tensor(x) * scale, x.sum()))


def test_message_shows_case_values_and_place():
    message = str(CHECK(lambda x, scale: (np.where(x == 3, 7.0, x * scale), x.sum())))
    assert message.startswith("not yet: doubled: case 1 of 6:")
    assert "x = [1, -2, 3]" in message
    assert "scale = 2" in message
    assert "expected y: [2, -4, 6]" in message
    assert "got y:      [2, -4, 7]" in message
    assert "first difference at [2]: expected 6, got 7" in message
    assert "Hint" not in message


def test_the_first_of_several_differences_is_named():
    message = str(CHECK(lambda x, scale: (x * scale + [0.0, 1.0, 2.0], x.sum()) if x.ndim == 1 else doubled(x, scale)))
    assert "first difference at [1]: expected -4, got -3; 2 of 3 elements differ" in message


def test_large_arguments_are_shown_by_their_shape():
    message = str(CHECK(lambda x, scale: (x * scale + (x.ndim == 3), x.sum())))
    assert "case 2 of 6" in message
    assert "x = float64 array of shape [3, 7, 9]" in message or ", 7, 9]" in message
    assert "elements differ" in message


def test_second_output_is_named():
    verdict = CHECK(lambda x, scale: (x * scale, x.mean()))
    assert "expected total: 2" in str(verdict)
    assert verdict.hint == "A sum has no divisor."
    assert "Hint: A sum has no divisor." in str(verdict)


def test_a_hint_needs_agreement_in_all_cases():
    """In case 1, 2 + 2 and 2 · 2 would agree; what is told must fit everything that the learner's function does."""
    assert not CHECK(lambda x, scale: (x + scale + (x.ndim == 3), x.sum())).hint


def test_a_mistake_is_recognised_though_the_answer_raises_elsewhere():
    def answer(x, scale):
        if x.ndim == 3:
            raise IndexError("too deep")
        return x + scale, x.sum()

    assert CHECK(answer).hint == "Multiply, do not add."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (UNSOLVED, "it raises NotImplementedError (your turn)"),
        (lambda x, scale: None, "2 results are wanted: y, total"),
        (lambda x, scale: (x[:1], 0.0), "3 numbers are wanted, not 1"),
        (lambda x, scale: (x[:, None], 0.0), "the shape must be [3], not [3, 1]"),
        (lambda x, scale: (None, 0.0), "nothing was returned"),
        (lambda x, scale: ("no", 0.0), "numbers are wanted, not str"),
        (lambda x, scale: 1 / 0, "it raises ZeroDivisionError"),
        (lambda x, scale: (x.__imul__(scale), x.sum()), "overwrites its argument x"),
        (lambda x: x, "it raises TypeError"),
        (3, "takes the function itself, got 3"),
    ],
)
def test_other_answers(answer, said):
    verdict = CHECK(answer)
    assert not verdict
    assert str(verdict).startswith("not yet")
    assert said in str(verdict)


def test_errors_must_be_raised_where_the_reference_raises():
    def root(n):
        if n < 0:
            raise ValueError("no root")
        return n**0.5

    check = Compared("root", root, lambda rng: [{"n": 4.0}, {"n": -4.0}], ())
    assert check(root)
    assert "expected: ValueError (no root)" in str(check(lambda n: abs(n) ** 0.5))
    assert "got:      KeyError" in str(check(lambda n: root(n) if n > 0 else {}[n]))


def test_an_integer_is_wanted_where_the_reference_gives_one():
    check = Compared("half", lambda n: n // 2, lambda rng: [{"n": 4}], ())
    assert "// divides integers" in str(check(lambda n: n / 2))


def test_strings_lists_and_nan():
    check = Compared("texts", lambda n: ["a"] * n, lambda rng: [{"n": 2}], ())
    assert check(lambda n: ["a", "a"])
    assert "expected: ['a', 'a']" in str(check(lambda n: ["a", "b"]))
    nan = Compared("nan", lambda n: np.array([np.nan, n]), lambda rng: [{"n": 2.0}], ())
    assert nan(lambda n: np.array([np.nan, n]))
    assert not nan(lambda n: np.array([0.0, n]))


def test_judged():
    check = Judged(
        "even", lambda n: "" if n % 2 == 0 else f"{n} is odd", 4, (Wrong("odd", 3, "is odd"),), "even indeed."
    )
    assert str(check(2)) == "passed: even indeed."
    assert str(check(3)) == "not yet: even: 3 is odd"
    assert "no answer so far" in str(check(None))
    assert "it raises TypeError" in str(check("text"))


def test_audit_finds_faults():
    lenient = Judged("any", lambda n: "", 4, (Wrong("odd", 3, "is odd"),))
    faults = " ".join(audit(lenient).faults)
    assert "fewer than two" in faults
    assert "passes the wrong answer 'odd'" in faults
    strict = Judged("none", lambda n: "no", 4, (Wrong("a", 3, "is odd"), Wrong("b", 3, "no")))
    faults = " ".join(audit(strict).faults)
    assert "rejects its solution" in faults
    assert "not 'is odd'" in faults
