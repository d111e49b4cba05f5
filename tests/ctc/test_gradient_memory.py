"""A gradient is written into the memory of the last one, once nobody holds that, and never before."""

import contextvars
import threading
import weakref

import pytest
import torch

from minicrnn.ctc import ctc_loss_from_logits

K = 20_000  # classes; smaller gradients are malloc's


def gradient(seed):
    x = torch.randn(6, 2, K, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    ctc_loss_from_logits(x, torch.tensor([[1, 2], [3, 3]]), (6, 5), (2, 2)).backward()
    return x.grad


@pytest.mark.parametrize(
    "hold", [lambda g: g, lambda g: g[0], lambda g: g.numpy(), lambda g: g.detach().numpy()[1:], lambda g: g.mT]
)
def test_what_is_held_is_not_written_to(hold):
    held = hold(gradient(0))
    kept = torch.as_tensor(held).clone()
    for seed in range(1, 4):
        gradient(seed)
    assert torch.equal(torch.as_tensor(held), kept)


def test_a_gradient_that_grows_is_not_written_to():
    """retain_graph: the second backward adds to the first one's memory, the third to both."""
    x = torch.randn(6, 2, K, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = ctc_loss_from_logits(x, torch.tensor([[1, 2], [3, 3]]), (6, 5), (2, 2))
    for times in range(1, 4):
        loss.backward(retain_graph=True)
        torch.testing.assert_close(x.grad, times * gradient(0))


def test_what_is_given_back_is_used_again(level):
    address = gradient(0).data_ptr()
    blocker = torch.empty(6, 2, K)  # what malloc would hand out next
    again = gradient(1).data_ptr()
    assert level == "torch" or again == address, blocker.shape


def test_a_shorter_batch_takes_part_of_it(level):
    address = gradient(0).data_ptr()
    x = torch.randn(3, 2, K, requires_grad=True)
    ctc_loss_from_logits(x, torch.tensor([[1, 2], [3, 4]]), (3, 3), (2, 2)).backward()
    assert level == "torch" or x.grad.data_ptr() == address
    assert x.grad.shape == (3, 2, K)
    torch.testing.assert_close(x.grad.sum(2), torch.zeros(3, 2), atol=1e-6, rtol=0)


def test_a_loss_that_is_kept_does_not_keep_the_work():
    """What the backward pass needed goes with it, though the loss stays."""
    x = torch.randn(6, 2, 5, requires_grad=True)
    loss = ctc_loss_from_logits(x, torch.tensor([[1, 2], [3, 3]]), (6, 5), (2, 2))
    held = [weakref.ref(tensor.untyped_storage()) for tensor in loss.grad_fn.saved_tensors if tensor is not x]
    assert held
    loss.backward()
    assert not any(value for value in loss.grad_fn.others if isinstance(value, list) or hasattr(value, "__array__"))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        _ = loss.grad_fn.saved_tensors


def test_threads_do_not_share():
    expected = [gradient(seed) for seed in range(4)]
    results = {}

    def call(seed):
        for _ in range(50):
            results[seed] = gradient(seed)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(call, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(results[seed], expected[seed]) for seed in range(4))
