"""Checks for hand-written gradients: against central differences, and against another implementation.

They are public: call them on your own layers while you write them.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GradientReport:
    """How far the gradients are from central differences, and where they differ most."""

    max_error: float
    worst_leaf: str
    worst_index: tuple[int, ...]
    analytic: float
    numeric: float
    elements: int

    def __str__(self) -> str:
        return (
            f"{self.elements} gradients checked; the worst is {self.worst_leaf} at "
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
        function: takes the inputs, returns a tensor or a tuple of them (integer outputs are passed over). The
            parameters of a module are checked, too; weights that a plain function uses belong in ``inputs``.
        inputs: a list of tensors; those that are float64 are checked, others are handed over as they are.

    Raises:
        ValueError: no input is float64 (float32 has too few digits for central differences), or a parameter of
            the module is not.
        AssertionError: an element differs by more than ``atol + rtol · |numeric|``, or is NaN; the message says
            which. Or an output carries no gradient.

    >>> x = torch.tensor([0.5, -2.0], dtype=torch.float64)
    >>> check_gradients(lambda x: x**3, [x]).elements
    2
    """
    chosen = [i for i, t in enumerate(inputs) if t.dtype == torch.float64]
    if not chosen:
        raise ValueError("check_gradients needs float64 inputs: float32 has too few digits for differences")
    args = [t.detach().clone().requires_grad_(i in chosen) for i, t in enumerate(inputs)]
    leaves = {f"input {i}": args[i] for i in chosen} | _parameters(function)
    worst, worst_excess, count = GradientReport(0.0, "nothing", (), 0.0, 0.0, 0), -math.inf, 0
    for element in _elements(function, args, leaves, eps, seed):
        excess = element.max_error - (atol + rtol * abs(element.numeric))
        if math.isnan(excess):
            excess = math.inf  # worst of all; NaN itself would compare as neither better nor worse
        if excess > worst_excess:
            worst, worst_excess = element, excess
        count += 1
    report = replace(worst, elements=count)
    if worst_excess > 0:
        raise AssertionError(str(report))
    return report


def _parameters(function: Callable[..., Any]) -> dict[str, Tensor]:
    """The parameters of a module that learn; none for a plain function."""
    named = function.named_parameters() if isinstance(function, nn.Module) else ()
    parameters = {name: parameter for name, parameter in named if parameter.requires_grad}
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float64:
            raise ValueError(f"check_gradients needs float64, but {name} is {parameter.dtype}: call .double() first")
    return {f"parameter {name}": parameter for name, parameter in parameters.items()}


def _elements(
    function: Callable[..., Any], args: Sequence[Tensor], leaves: Mapping[str, Tensor], eps: float, seed: int
) -> Iterator[GradientReport]:
    """Both derivatives by each element of the leaves, one report an element."""
    outputs = _float_outputs(function(*args))
    for i, y in outputs.items():
        if not y.requires_grad:
            raise AssertionError(f"output {i} carries no gradient: it was detached or made anew")
    upstream = _random_like(outputs.values(), seed)
    grads = torch.autograd.grad(list(outputs.values()), list(leaves.values()), upstream, allow_unused=True)

    def objective() -> float:
        with torch.no_grad():
            values = _float_outputs(function(*args)).values()
            return sum(float((y * dy).sum()) for y, dy in zip(values, upstream, strict=True))

    for (name, leaf), grad in zip(leaves.items(), grads, strict=True):
        for position in itertools.product(*map(range, leaf.shape)):
            numeric = _central_difference(objective, leaf.data, position, eps)
            analytic = 0.0 if grad is None else float(grad[position])
            yield GradientReport(abs(analytic - numeric), name, position, analytic, numeric, 1)


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
    upstream gradient is random and the same for both. Shapes and dtypes must match, too, and so must which
    outputs carry a gradient. Each implementation gets its own copy of the inputs, in the same memory layout.

    Raises:
        AssertionError: naming the output, input or parameter that differs, and by how much; or an input that an
            implementation has overwritten.

    >>> compare_with(torch.tanh, lambda x: x.sinh() / x.cosh(), [torch.randn(3, dtype=torch.float64)])
    """
    our, their = _run("ours", ours, inputs, seed), _run("theirs", theirs, inputs, seed)
    assert len(our.outputs) == len(their.outputs), f"{len(our.outputs)} outputs, not {len(their.outputs)}"
    for i, (a, b) in enumerate(zip(our.outputs, their.outputs, strict=True)):
        _assert_close(f"output {i}", a, b, atol, rtol)
        assert a.requires_grad == b.requires_grad, (
            f"output {i} carries a gradient in only one of the two: ours {a.requires_grad}, theirs {b.requires_grad}; "
            "in the other it was detached or made anew"
        )
    pairs = [(our.input_grads, their.input_grads)]
    # A function beside a module has no named parameters: their input gradients are compared all the same.
    if isinstance(ours, nn.Module) and isinstance(theirs, nn.Module):
        names, their_names = list(our.parameter_grads), list(their.parameter_grads)
        assert names == their_names, f"parameters differ: {names} and {their_names}"
        pairs.append((our.parameter_grads, their.parameter_grads))
    for our_grads, their_grads in pairs:
        for (name, ga), gb in zip(our_grads.items(), their_grads.values(), strict=True):
            assert (ga is None) == (gb is None), f"gradient of {name}: one is None, ours {ga}, theirs {gb}"
            if ga is not None and gb is not None:
                _assert_close(f"gradient of {name}", ga, gb, atol, rtol)


class _Run(NamedTuple):
    """What one implementation returned, and the gradients by name."""

    outputs: list[Tensor]
    input_grads: dict[str, Tensor | None]
    parameter_grads: dict[str, Tensor | None]


def _run(side: str, function: Callable[..., Any], inputs: Sequence[Tensor], seed: int) -> _Run:
    """Run one implementation forward and backward on its own copy of the inputs."""
    args = [_copy_in_layout(t).requires_grad_(t.is_floating_point()) for t in inputs]
    leaves = {f"input {i}": a for i, a in enumerate(args) if a.requires_grad}
    named = function.named_parameters() if isinstance(function, nn.Module) else ()
    parameters = {name: p for name, p in named if p.requires_grad}
    outputs = _flatten(function(*args))
    wanted = [*leaves.values(), *parameters.values()]
    grads: Sequence[Tensor | None] = [None] * len(wanted)
    carrying = [y for y in outputs if y.requires_grad]
    if carrying and wanted:
        grads = torch.autograd.grad(carrying, wanted, _random_like(carrying, seed), allow_unused=True)
    for i, (given, arg) in enumerate(zip(inputs, args, strict=True)):
        _assert_close(f"input {i} was overwritten by {side}", arg.detach(), given.detach(), 0.0, 0.0)
    count = len(leaves)
    return _Run(
        outputs,
        dict(zip(leaves, grads[:count], strict=True)),
        dict(zip(parameters, grads[count:], strict=True)),
    )


def _assert_close(name: str, ours: Tensor, theirs: Tensor, atol: float, rtol: float) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=rtol, equal_nan=True, msg=lambda m: f"{name}: {m}")


def _copy_in_layout(tensor: Tensor) -> Tensor:
    """A copy with the same strides and offset; elements that share memory, as in an expanded tensor, still do."""
    tensor = tensor.detach()
    if tensor.numel() == 0:
        return tensor.clone()
    size, stride, offset = tensor.size(), tensor.stride(), tensor.storage_offset()
    end = offset + 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    return tensor.as_strided((end,), (1,), 0).clone().as_strided(size, stride, offset)


def _flatten(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in _flatten(part)]
    return []


def _float_outputs(result: Any) -> dict[int, Tensor]:
    """The floating-point outputs by their number."""
    return {i: y for i, y in enumerate(_flatten(result)) if y.is_floating_point()}


def _random_like(outputs: Iterable[Tensor], seed: int) -> list[Tensor]:
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
