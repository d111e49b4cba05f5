"""What the layers ask of torch's autograd and modules, beyond tensors.

Backward passes are derived by hand, and so have no derivative themselves.

Who asks for one, as a penalty on the gradient does, gets an error. torch's own ``once_differentiable`` raises only if
the gradient of the output is a variable itself; otherwise it hands out a gradient without a graph, the penalty is
without effect, and nobody knows.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

Gradients = Tensor | None | tuple[Tensor | None, ...]


def once_differentiable(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Decorate the ``backward`` of an ``autograd.Function``: its gradients raise when they are differentiated.

    Raises:
        RuntimeError: in the backward pass of a function of the gradients, made with ``create_graph=True``.
    """

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Tensor | None) -> Gradients:
        with torch.no_grad():
            results = backward(ctx, *(None if gradient is None else gradient.detach() for gradient in gradients))
        if not torch.is_grad_enabled():
            return results
        variable = torch.zeros((), requires_grad=True)  # so that the results are part of a graph
        if not isinstance(results, tuple):
            results = (results,)
        return tuple(None if result is None else _OnceOnly.apply(result, variable) for result in results)

    return run


class _OnceOnly(torch.autograd.Function):
    """A gradient that raises when it is differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, variable: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, dgradient: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("this layer is once differentiable: a function of its gradient has no derivative here")


def refuse_transforms(scores: Tensor) -> None:
    """Without this, the tangent of a forward-mode derivative of the CTC loss would be dropped in silence.

    Raises:
        NotImplementedError: inside a transform of torch.func, or for a tensor with a tangent.
    """
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(
            "the CTC loss does not run inside torch.func's transforms (vmap, grad, jvp): "
            "make one batch of what is mapped over, and call backward() outside"
        )
    if is_transformed(scores):
        raise NotImplementedError("the CTC loss has no forward-mode derivative: use backward()")


def is_transformed(tensor: Tensor) -> bool:
    """Whether a tensor is more than its numbers: inside a transform of torch.func, or with a forward-mode tangent.

    Kernels see the numbers alone, and would drop the rest in silence.

    >>> is_transformed(torch.zeros(1)), torch.func.vmap(lambda x: torch.tensor(is_transformed(x)))(torch.zeros(1))
    (False, tensor([True]))
    """
    if torch._C._are_functorch_transforms_active():
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


def is_watched(module: nn.Module) -> bool:
    """Whether somebody has put a hook on a module, or on all modules, and wants to see it run.

    >>> layer = nn.Linear(1, 1)
    >>> handle = layer.register_forward_hook(print)
    >>> is_watched(layer), is_watched(nn.Linear(1, 1))
    (True, False)
    """
    forward = module._forward_hooks or module._forward_pre_hooks
    backward = module._backward_hooks or module._backward_pre_hooks
    return bool(forward or backward) or bool(nn.modules.module._has_any_global_hook())
