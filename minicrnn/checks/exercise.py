"""What a check of an exercise is: it takes the learner's answer and gives a :class:`Verdict`.

There are two kinds. :class:`Compared` takes a function and runs it beside the reference on drawn cases.
:class:`Judged` takes anything (a case, a list of layers, a function) and asks a judge what is wrong with it. Both hold
wrong answers that people give, each with what to tell them; a check recognises them by what they return.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicrnn.checks.differences import CLOSE, EXACT, Tolerance, first_difference, in_words, summary, with_names

Arguments = dict[str, Any]


class Unsolved:
    """The answer of someone who has not begun; as a function it does what a stub does."""

    def __call__(self, *arguments: object) -> object:
        raise NotImplementedError("your turn")


UNSOLVED = Unsolved()


@dataclass(frozen=True)
class Verdict:
    """What a check says. ``message`` begins with "passed" or "not yet"; ``hint`` is "" unless the mistake is known."""

    passed: bool
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return self.message

    __repr__ = __str__  # so that a prompt or a notebook shows the message

    def __bool__(self) -> bool:
        return self.passed


@dataclass(frozen=True)
class Wrong:
    """A wrong answer that people give, and what to tell them.

    Attributes:
        name: two or three words, for the table of checks.
        answer: as a learner would hand it in.
        hint: one sentence on the mistake; for a :class:`Judged` check, a part of what its judge says.
    """

    name: str
    answer: Any
    hint: str


@dataclass(frozen=True)
class _Outcome:
    """What a function returned or raised, and what it did to its arguments."""

    value: Any
    error: Exception | None
    overwritten: str = ""


@dataclass(frozen=True, repr=False)
class Compared:
    """A check that compares the learner's function with the reference over drawn cases, the easy ones first.

    Args:
        name: of the exercise, as the learner's function is called.
        reference: the right answer; it may raise ValueError, and then the learner's must, too.
        cases: gives the arguments by name, in the order of the signature; from a generator of random numbers.
        wrong: the wrong answers that are recognised.
        outputs: names of what is returned, where that is a tuple.
        tolerance: absolute and relative, for floating-point numbers.
        show_arguments: how many numbers of an array the message shows in full.

    >>> def halves(rng):
    ...     yield {"n": 4}
    ...     yield from ({"n": int(rng.integers(100))} for _ in range(9))
    >>> check = Compared("half", lambda n: n // 2, halves, (Wrong("rounds up", lambda n: -(-n // 2), "Round down."),))
    >>> check(lambda n: n // 2)
    passed: half agrees with the reference in all of 10 cases.
    >>> check(lambda n: -(-n // 2)).hint
    'Round down.'
    """

    name: str
    reference: Callable[..., Any]
    cases: Callable[[np.random.Generator], Iterable[Arguments]]
    wrong: tuple[Wrong, ...]
    outputs: tuple[str, ...] = ()
    tolerance: Tolerance = CLOSE
    show_arguments: int = 24
    seed: int = 0

    @property
    def solution(self) -> Callable[..., Any]:
        """An answer that passes."""
        return self.reference

    def __call__(self, answer: Any) -> Verdict:
        """Try the learner's function; the message says which case failed, and how."""
        if not callable(answer):
            return _not_yet(self.name, f"the check takes the function itself, got {in_words(answer, 8)}")
        drawn = list(self.cases(np.random.default_rng(self.seed)))
        for i, case in enumerate(drawn):
            expected, got = _run(self.reference, case), _run(answer, case)
            if isinstance(got.error, NotImplementedError):
                return _not_yet(self.name, f"it raises NotImplementedError ({got.error})")
            problem = self._problem(expected, got)
            if problem:
                hint = self._recognise(answer, case, drawn)
                arguments = "\n".join(f"    {n} = {in_words(v, self.show_arguments)}" for n, v in case.items())
                lines = [f"case {i + 1} of {len(drawn)}:", arguments, problem]
                return _not_yet(self.name, "\n".join([*lines, f"  Hint: {hint}"] if hint else lines), hint)
        return Verdict(True, f"passed: {self.name} agrees with the reference in all of {len(drawn)} cases.")

    def _problem(self, expected: _Outcome, got: _Outcome) -> str:
        """How the learner's outcome differs from the reference's; empty where it does not."""
        if expected.error is not None:
            wanted = f"{type(expected.error).__name__} ({expected.error})"
            if got.error is None:
                return f"  expected: {wanted}\n  got:      {in_words(got.value, 8)}"
            if not isinstance(got.error, type(expected.error)):
                return f"  expected: {wanted}\n  got:      {type(got.error).__name__}: {got.error}"
            return ""
        if got.error is not None:
            return f"  it raises {type(got.error).__name__}: {got.error}{_where(got.error)}"
        if got.overwritten:
            return f"  it overwrites its argument {got.overwritten}: work on a copy"
        difference = first_difference(
            with_names(expected.value, self.outputs), with_names(got.value, self.outputs), self.tolerance
        )
        return "" if difference is None else summary(difference)

    def _recognise(self, answer: Callable[..., Any], failed: Arguments, drawn: Sequence[Arguments]) -> str:
        """The hint of the stored wrong answer that does the same as the learner's.

        In the case that failed, and in every other one where the learner's does not raise.
        """
        outcomes = [(case, _run(answer, case)) for case in drawn]
        for wrong in self.wrong:
            if all(
                not self._problem(_run(wrong.answer, case), got)
                for case, got in outcomes
                if case is failed or got.error is None
            ):
                return wrong.hint
        return ""


@dataclass(frozen=True, repr=False)
class Judged:
    """A check that asks a judge: what is wrong with this answer? An empty text means that nothing is.

    Args:
        name: of the exercise.
        judge: takes the answer; returns what to tell the learner, "" if it is right. It may raise: the message says so.
        solution: an answer that passes.
        wrong: wrong answers, each with a part of what the judge must say to it.
        praise: what to say when it is right.

    >>> even = Judged("an even number", lambda n: "" if n % 2 == 0 else f"{n} is odd.", 4, ())
    >>> even(3)
    not yet: an even number: 3 is odd.
    """

    name: str
    judge: Callable[[Any], str]
    solution: Any
    wrong: tuple[Wrong, ...]
    praise: str = "right."

    def __call__(self, answer: Any) -> Verdict:
        """Judge the learner's answer."""
        if answer is None or answer is ... or answer is UNSOLVED:
            return _not_yet(self.name, "there is no answer so far")
        try:
            complaint = self.judge(answer)
        except NotImplementedError as error:
            complaint = f"it raises NotImplementedError ({error})"
        except Exception as error:  # whatever a learner's code may raise
            complaint = f"it raises {type(error).__name__}: {error}{_where(error)}"
        return _not_yet(self.name, complaint, complaint) if complaint else Verdict(True, f"passed: {self.praise}")


Check = Compared | Judged


def _not_yet(name: str, text: str, hint: str = "") -> Verdict:
    return Verdict(False, f"not yet: {name}: {text}", hint)


def _run(function: Callable[..., Any], case: Arguments) -> _Outcome:
    """Call a function with its own copy of the arguments."""
    arguments = copy.deepcopy(case)
    try:
        value = function(*arguments.values())
    except Exception as error:  # whatever a learner's code may raise
        return _Outcome(None, error)
    changed = [
        n
        for n, before in case.items()
        if isinstance(before, (np.ndarray, list)) and first_difference({n: before}, {n: arguments[n]}, EXACT)
    ]
    return _Outcome(value, None, ", ".join(changed))


def _where(error: Exception) -> str:
    """The line of the learner's code that raised, where there is one."""
    step, line = error.__traceback__, 0
    while step is not None:
        if "minicrnn" not in step.tb_frame.f_code.co_filename:
            line = step.tb_lineno
        step = step.tb_next
    return f" (line {line} of the cell)" if line else ""
