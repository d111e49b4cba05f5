"""The simulated GPU itself: its warps, its drawn orders, and the faults it reports."""

import inspect

import numpy as np
import pytest
from numba import cuda, float32

from tests.kernels.simulator import Fault, simulated

ALL = 0xFFFFFFFF


@cuda.jit
def shuffles_kernel(x, out):
    i = cuda.threadIdx.x
    out[0, i] = cuda.shfl_up_sync(ALL, x[i], 3)
    out[1, i] = cuda.shfl_down_sync(ALL, x[i], 3)
    out[2, i] = cuda.shfl_sync(ALL, x[i], 5)
    out[3, i] = cuda.shfl_xor_sync(ALL, x[i], 6)
    out[4, i] = cuda.ballot_sync(ALL, x[i] % 2 == 0)
    out[5, i] = cuda.any_sync(ALL, x[i] == 40)
    out[6, i] = cuda.all_sync(ALL, x[i] < 32)


def test_shuffles_and_votes_stay_in_their_warp():
    x, out = np.arange(64), np.zeros((7, 64), np.int64)
    with simulated():
        shuffles_kernel[1, 64](x, out)
    lane, first = x % 32, x // 32 * 32
    assert out[0].tolist() == np.where(lane >= 3, x - 3, x).tolist()
    assert out[1].tolist() == np.where(lane < 29, x + 3, x).tolist()
    assert out[2].tolist() == (first + 5).tolist()
    assert out[3].tolist() == (x ^ 6).tolist()
    assert out[4].tolist() == [0x55555555] * 64
    assert out[5].tolist() == [0] * 32 + [1] * 32
    assert out[6].tolist() == [1] * 32 + [0] * 32


@cuda.jit
def warps_go_their_own_way_kernel(out):
    i, total = cuda.threadIdx.x, float32(0)
    for _ in range(1 + cuda.threadIdx.x // 32):
        total += cuda.shfl_xor_sync(ALL, i, 1)
    cuda.syncthreads()
    out[i] = total


def test_one_warp_may_shuffle_more_often_than_another():
    out = np.zeros(64)
    with simulated():
        warps_go_their_own_way_kernel[1, 64](out)
    assert out.tolist() == [(i ^ 1) * (1 + i // 32) for i in range(64)]


@cuda.jit
def order_kernel(counter, out):
    out[counter[0]] = cuda.threadIdx.x
    counter[0] += 1


def test_the_seed_draws_the_order():
    orders = []
    for seed in (0, 0, 1):
        out = np.zeros(40, np.int64)
        with simulated(seed):
            order_kernel[1, 40](np.zeros(1, np.int64), out)
        orders.append(out.tolist())
    assert sorted(orders[0]) == list(range(40))
    assert orders[0] == orders[1] != orders[2]


@cuda.jit
def shared_kernel(out):
    static, dynamic = cuda.shared.array(4, float32), cuda.shared.array(0, float32)
    i = cuda.threadIdx.x
    out[cuda.blockIdx.x, 0, i] = static[i]
    out[cuda.blockIdx.x, 1, i] = dynamic[i]
    cuda.syncthreads()
    static[i] = i
    dynamic[i] = 10 + i
    cuda.syncthreads()
    out[cuda.blockIdx.x, 2, i] = static[3 - i] + dynamic[3 - i]


def test_shared_memory_belongs_to_a_block_and_starts_as_nan():
    out = np.zeros((2, 3, 4), np.float32)
    with simulated():
        shared_kernel[2, 4, 0, 16](out)
    assert np.isnan(out[:, :2]).all()
    assert out[:, 2].tolist() == [[16, 14, 12, 10]] * 2


@cuda.jit
def negative_index_kernel(x):
    x[cuda.threadIdx.x // 8 - 1] = 0


@cuda.jit
def index_too_large_kernel(x):
    x[0] = x[cuda.threadIdx.x]


@cuda.jit
def barrier_for_some_kernel(x):
    if cuda.threadIdx.x < 5:
        cuda.syncthreads()


@cuda.jit
def two_barriers_kernel(x):
    if cuda.threadIdx.x < 5:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


@cuda.jit
def shuffle_with_absent_lane_kernel(x):
    cuda.shfl_sync(0xFF, 1.0, cuda.threadIdx.x + 1)


@cuda.jit
def shuffle_in_half_a_warp_kernel(x):
    cuda.shfl_xor_sync(ALL, 1.0, 1)


@cuda.jit
def not_in_mask_kernel(x):
    cuda.syncwarp(0xF)


@cuda.jit
def much_shared_memory_kernel(x):
    cuda.shared.array(12289, float32)


@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        (negative_index_kernel, Fault, r"index -1 into an array of shape \(4,\)"),
        (index_too_large_kernel, IndexError, "out of bounds"),
        (barrier_for_some_kernel, Fault, r"test_simulator.py:\d+: 5 threads wait .* syncthreads: threads \[5, 6, 7\]"),
        (two_barriers_kernel, Fault, r"(?s)5 threads wait .* 3 threads wait|3 threads wait .* 5 threads wait"),
        (shuffle_with_absent_lane_kernel, Fault, "lane 7 reads from lane 8, which is not in mask 0xff"),
        (shuffle_in_half_a_warp_kernel, Fault, r"8 threads wait .* shuffle: .*\[8, .* do not exist"),
        (not_in_mask_kernel, Fault, "syncwarp with mask 0xf by lane"),
        (much_shared_memory_kernel, Fault, "more than 49152 bytes of shared memory"),
    ],
)
def test_faults_are_reported_and_the_next_kernel_runs(kernel, error, message):
    with simulated():
        with pytest.raises(error, match=message):
            kernel[1, 8](np.zeros(4, np.float32))
        order_kernel[1, 8](np.zeros(1, np.int64), np.zeros(8, np.int64))


@cuda.jit
def neighbours_kernel(x, out):
    i = cuda.threadIdx.x
    row = cuda.shared.array(64, float32)
    row[i] = x[i]
    cuda.syncthreads()
    out[i] = row[i ^ 32]
    cuda.syncthreads()
    row[i] = 0


@cuda.jit
def lanes_kernel(x, out):
    i = cuda.threadIdx.x
    x[i] += 1
    cuda.syncwarp()
    out[i] = x[i ^ 1]


@cuda.jit
def shuffle_instead_of_barrier_kernel(x, out):
    i = cuda.threadIdx.x
    x[i] += 1
    cuda.shfl_sync(ALL, i, 0)
    out[i] = x[i ^ 1]


@cuda.jit
def blocks_kernel(x, out):
    x[cuda.threadIdx.x] = cuda.blockIdx.x


def barriers_of(kernel):
    lines, first = inspect.getsourcelines(kernel.fn)
    return [(__file__, first + i) for i, line in enumerate(lines) if "cuda.sync" in line]


def run(kernel, blocks=1, **options):
    x, out = np.arange(64.0), np.zeros(64)
    with simulated(**options):
        kernel[blocks, 64](x, out)
    return out


def test_barriers_prevent_races():
    assert run(neighbours_kernel, races=True).tolist() == [i ^ 32 for i in range(64)]
    assert run(lanes_kernel, races=True).tolist() == [(i ^ 1) + 1 for i in range(64)]


@pytest.mark.parametrize(
    ("number", "message"), [(0, "race: (written by .*, read|read by .*, written)"), (1, "read by")]
)
def test_without_a_barrier_there_is_a_race(number, message):
    place = barriers_of(neighbours_kernel)[number]
    with pytest.raises(Fault, match=message):
        run(neighbours_kernel, races=True, without=place)
    run(neighbours_kernel, without=place)  # nobody asked


def test_the_order_shows_a_missing_barrier_too():
    place = barriers_of(neighbours_kernel)[0]
    expected = [i ^ 32 for i in range(64)]
    assert any(run(neighbours_kernel, seed=seed, without=place).tolist() != expected for seed in range(3))


def test_a_barrier_of_warps_or_a_shuffle_is_no_barrier_for_a_race():
    with pytest.raises(Fault, match="race"):
        run(lanes_kernel, races=True, without=barriers_of(lanes_kernel)[0])
    with pytest.raises(Fault, match="race"):
        run(shuffle_instead_of_barrier_kernel, races=True)


def test_blocks_race():
    with pytest.raises(Fault, match=r"race: written by thread \d+ of block \[0, 0, 0\], written by"):
        run(blocks_kernel, blocks=2, races=True)
