"""Batches: what is in them, and that an epoch has every sample once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from minicrnn.data.batching import WidthBatchSampler, collate
from minicrnn.data.dataset import Item
from tests.strategies import seeds


def item(width, labels, height=8):
    labels = torch.tensor(labels, dtype=torch.int64)
    return Item(torch.randn(1, height, width), labels, f"text {width}", f"name {width}")


@given(st.lists(st.tuples(st.integers(1, 20), st.lists(st.integers(1, 5), max_size=4)), min_size=1, max_size=5))
def test_collate_pads_and_remembers_the_sizes(sizes):
    items = [item(width, labels) for width, labels in sizes]
    batch = collate(items)
    assert len(batch) == len(items)
    assert batch.images.shape == (len(items), 1, 8, max(width for width, _ in sizes))
    assert batch.targets.shape == (len(items), max(len(labels) for _, labels in sizes))
    for tensor in (batch.widths, batch.targets, batch.target_lengths):
        assert tensor.dtype == torch.int64
    for n, (width, labels) in enumerate(sizes):
        assert (batch.widths[n], batch.target_lengths[n]) == (width, len(labels))
        assert torch.equal(batch.images[n, :, :, :width], items[n].image)
        assert (batch.images[n, :, :, width:] == 0).all()
        assert batch.targets[n].tolist() == labels + [0] * (batch.targets.shape[1] - len(labels))
        assert (batch.texts[n], batch.names[n]) == (items[n].text, items[n].name)


def test_collate_refuses_nothing_and_mixed_heights():
    with pytest.raises(ValueError, match="at least one"):
        collate([])
    with pytest.raises(ValueError, match=r"heights \[8, 9\]"):
        collate([item(5, [1]), item(5, [1], height=9)])


def test_a_batch_moves_with_all_its_tensors():
    batch = collate([item(5, [1])]).to("meta")
    tensors = (batch.images, batch.widths, batch.targets, batch.target_lengths)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.texts == ["text 5"]


def test_pinning_pins_all_tensors(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    batch = collate([item(5, [1])])
    copy = batch.pin_memory()
    assert [id(tensor) for tensor in pinned] == [
        id(tensor) for tensor in (batch.images, batch.widths, batch.targets, batch.target_lengths)
    ]
    assert copy.names == batch.names


many_widths = st.lists(st.integers(1, 500), max_size=300)


@given(many_widths, st.integers(1, 9), st.booleans(), seeds, st.integers(0, 5), st.booleans())
def test_every_index_comes_once(widths, batch_size, shuffle, seed, epoch, drop_last):
    if drop_last and len(widths) < batch_size:
        widths = widths + [1] * batch_size
    sampler = WidthBatchSampler(widths, batch_size, shuffle, seed, drop_last)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    indices = [i for batch in batches for i in batch]
    assert len(batches) == len(sampler) == sampler.batches_per_epoch
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(len(widths)))
    assert len(indices) == (len(widths) // batch_size * batch_size if drop_last else len(widths))
    assert sum(len(batch) < batch_size for batch in batches) == (len(widths) % batch_size > 0 and not drop_last)
    assert list(sampler) == batches


@given(many_widths, st.integers(1, 9), seeds, st.integers(0, 50))
def test_start_batch_goes_on_where_the_epoch_stopped(widths, batch_size, seed, start):
    whole = WidthBatchSampler(widths, batch_size, seed=seed)
    rest = WidthBatchSampler(widths, batch_size, seed=seed, start_batch=start)
    assert list(rest) == list(whole)[start:]
    assert len(rest) == len(list(rest))
    assert rest.batches_per_epoch == len(whole)
    whole.set_epoch(3, start)
    rest.set_epoch(3)
    assert list(whole) == list(rest)[start:]


def test_epochs_and_seeds_differ():
    widths = list(range(100))

    def batches(seed, epoch):
        sampler = WidthBatchSampler(widths, 4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert batches(0, 0) == batches(0, 0)
    assert batches(0, 0) != batches(0, 1)
    assert batches(0, 0) != batches(1, 0)
    assert sorted(map(sorted, batches(0, 0))) != list(batches(0, 0))  # the order of batches is shuffled, too


def test_batches_hold_similar_widths():
    generator = torch.Generator().manual_seed(0)
    widths = torch.randint(20, 400, (3000,), generator=generator).tolist()

    def waste(batches):
        padded = sum(max(widths[i] for i in batch) * len(batch) for batch in batches)
        return padded / sum(widths) - 1

    assert waste(WidthBatchSampler(widths, 16)) < 0.03
    assert waste(WidthBatchSampler(widths, 16, shuffle=False)) < 0.01
    assert waste([list(range(i, min(i + 16, 3000))) for i in range(0, 3000, 16)]) > 0.5


def test_equal_widths_are_shuffled_within_their_window():
    batches = list(WidthBatchSampler([7] * 64, 8))
    assert sorted(batches[0]) != list(range(min(batches[0]), min(batches[0]) + 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 4, "drop_last": True}, "3 samples do not fill one batch of 4"),
        ({"batch_size": 1, "start_batch": -1}, "must not be negative"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WidthBatchSampler([1, 2, 3], **options)


def test_it_drives_a_dataloader():
    items = [item(width, [1]) for width in (9, 3, 7, 5)]
    loader = DataLoader(items, batch_sampler=WidthBatchSampler([9, 3, 7, 5], 2, shuffle=False), collate_fn=collate)
    assert [batch.widths.tolist() for batch in loader] == [[3, 5], [7, 9]]
