"""Checks for hand-written gradients: against central differences, and against another implementation.

They are public: call them on your own layers while you write them.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GradientReport:
    """How far the gradients are from central differences, and where they differ most."""

    max_error: float
    worst_input: int
    worst_index: tuple[int, ...]
    analytic: float
    numeric: float
    elements: int

    def __str__(self) -> str:
        return (
            f"{self.elements} gradients checked; the worst is input {self.worst_input} at "
            f"{list(self.worst_index)}: backward says {self.analytic:.8g}, central differences say "
            f"{self.numeric:.8g} (error {self.max_error:.2g})"
        )


def check_gradients(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    *,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    seed: int = 0,
) -> GradientReport:
    """Compare the backward pass of ``function`` with central differences, element by element.

        ∂f/∂x_i ≈ (f(x + eps·e_i) − f(x − eps·e_i)) / (2 eps),   f(x) = Σ dy ⊙ function(x)

    dy is a *random* upstream gradient: with all ones, errors that cancel in a sum go unseen.

    Args:
        function: takes the inputs, returns a tensor or a tuple of them (integer outputs are passed over).
        inputs: tensors; those that are float64 are checked, others are handed over as they are.

    Raises:
        ValueError: no input is float64 (float32 has too few digits for central differences).
        AssertionError: an element differs by more than ``atol + rtol · |numeric|``; the message says which.

    >>> x = torch.tensor([0.5, -2.0], dtype=torch.float64)
    >>> check_gradients(lambda x: x**3, [x]).elements
    2
    """
    chosen = [i for i, t in enumerate(inputs) if t.dtype == torch.float64]
    if not chosen:
        raise ValueError("check_gradients needs float64 inputs: float32 has too few digits for differences")
    args = [t.detach().clone().requires_grad_(i in chosen) for i, t in enumerate(inputs)]
    outputs = _float_outputs(function(*args))
    upstream = _random_like(outputs, seed)
    grads = torch.autograd.grad(outputs, [args[i] for i in chosen], upstream, allow_unused=True)

    def objective() -> float:
        with torch.no_grad():
            values = _float_outputs(function(*args))
            return sum(float((y * dy).sum()) for y, dy in zip(values, upstream, strict=True))

    worst = GradientReport(0.0, chosen[0], (), 0.0, 0.0, 0)
    worst_excess, count = -float("inf"), 0
    for i, grad in zip(chosen, grads, strict=True):
        analytic_grad = torch.zeros_like(args[i]) if grad is None else grad
        for position in itertools.product(*map(range, args[i].shape)):
            numeric = _central_difference(objective, args[i].data, position, eps)
            analytic = float(analytic_grad[position])
            error = abs(analytic - numeric)
            excess = error - (atol + rtol * abs(numeric))
            count += 1
            if not excess <= worst_excess:  # written so that NaN counts as worst
                worst_excess = excess
                worst = GradientReport(error, i, position, analytic, numeric, 0)
    report = GradientReport(**{**vars(worst), "elements": count})
    if not worst_excess <= 0 and count:
        raise AssertionError(str(report))
    return report


def compare_with(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    inputs: Sequence[Tensor],
    *,
    atol: float = 1e-10,
    rtol: float = 1e-8,
    seed: int = 0,
) -> None:
    """Run two implementations forward and backward on the same inputs and compare all they return.

    Outputs, gradients of the inputs and, when both are modules, gradients of the parameters by name. The
    upstream gradient is random and the same for both. Shapes and dtypes must match, too.

    Raises:
        AssertionError: naming the output, input or parameter that differs, and by how much.

    >>> compare_with(torch.tanh, lambda x: x.sinh() / x.cosh(), [torch.randn(3, dtype=torch.float64)])
    """
    results = []
    for function in (ours, theirs):
        args = [_leaf_like(t) for t in inputs]
        leaves = [a for a in args if a.requires_grad]
        named = dict(function.named_parameters()) if isinstance(function, nn.Module) else {}
        all_outputs = _flatten(function(*args))
        outputs = [y for y in all_outputs if y.requires_grad]
        wanted = leaves + list(named.values())
        grads: tuple[Tensor | None, ...] = ()
        if outputs and wanted:
            grads = torch.autograd.grad(outputs, wanted, _random_like(outputs, seed), allow_unused=True)
        results.append((all_outputs, grads, [f"input {i}" for i in range(len(leaves))] + list(named)))
    (our_outputs, our_grads, names), (their_outputs, their_grads, their_names) = results
    if isinstance(ours, nn.Module) and isinstance(theirs, nn.Module):
        assert names == their_names, f"parameters differ: {names} and {their_names}"
    assert len(our_outputs) == len(their_outputs), f"{len(our_outputs)} outputs, not {len(their_outputs)}"
    for i, (a, b) in enumerate(zip(our_outputs, their_outputs, strict=True)):
        _assert_close(f"output {i}", a, b, atol, rtol)
    # A function beside a module has no named parameters: their input gradients are compared all the same.
    for name, ga, gb in zip(names, our_grads, their_grads, strict=False):
        assert (ga is None) == (gb is None), f"gradient of {name}: one is None, ours {ga}, theirs {gb}"
        if ga is not None and gb is not None:
            _assert_close(f"gradient of {name}", ga, gb, atol, rtol)


def _assert_close(name: str, ours: Tensor, theirs: Tensor, atol: float, rtol: float) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=rtol, equal_nan=True, msg=lambda m: f"{name}: {m}")


def _leaf_like(tensor: Tensor) -> Tensor:
    """The same values in the same memory layout, as a leaf of a fresh graph."""
    return tensor.detach().requires_grad_(tensor.is_floating_point())


def _flatten(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in _flatten(part)]
    return []


def _float_outputs(result: Any) -> list[Tensor]:
    return [y for y in _flatten(result) if y.is_floating_point()]


def _random_like(outputs: Sequence[Tensor], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) for y in outputs]


def _central_difference(objective: Callable[[], float], data: Tensor, position: tuple[int, ...], eps: float) -> float:
    value = data[position].item()
    data[position] = value + eps
    above = objective()
    data[position] = value - eps
    below = objective()
    data[position] = value
    return (above - below) / (2 * eps)
