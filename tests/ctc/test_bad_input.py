"""Arguments that mean nothing are refused, with the sample that is wrong, at each level.

Wrong arguments at every entry point are in ``test_targets.py``.
"""

import math

import pytest
import torch

from minicrnn.ctc import ctc_loss, ctc_loss_from_logits
from tests.ctc.problems import gradient
from tests.ctc.trap_inputs import FRAMES, LENGTHS, TARGETS, K, N, T, dtypes, functions, scores


class TestBadInput:
    """Each kind in the second group, where a sample before it is good; with and without a gradient, on all paths."""

    WRONG = 5

    def call(self, function, x=None, targets=TARGETS, frames=FRAMES, lengths=LENGTHS):
        return function(scores() if x is None else x, targets, frames, lengths)

    def refused(self, function, match, error=ValueError, **changes):
        with pytest.raises(error, match=match):
            self.call(function, **changes)

    def changed(self, values, at, value):
        values = torch.as_tensor(values).clone()
        values[at] = value
        return values

    @functions
    def test_label_beyond_the_classes(self, function):
        self.refused(function, "sample 5: label 11 at position 1", targets=self.changed(TARGETS, (5, 1), 11))
        self.refused(function, "sample 5: label 2147483648", targets=self.changed(TARGETS, (5, 1), 1 << 31))

    @functions
    def test_negative_label(self, function):
        self.refused(function, "sample 5: label -1 at position 0", targets=self.changed(TARGETS, (5, 0), -1))

    @functions
    def test_label_that_is_the_blank(self, function):
        self.refused(function, "sample 5: label 0 at position 1 is the blank", targets=self.changed(TARGETS, (5, 1), 0))

    @functions
    def test_more_frames_than_there_are(self, function):
        self.refused(function, "sample 5: input_lengths is 21", frames=self.changed(FRAMES, 5, T + 1))

    @functions
    def test_negative_input_length(self, function):
        self.refused(function, "sample 5: input_lengths is -3", frames=self.changed(FRAMES, 5, -3))

    @functions
    def test_more_labels_than_there_are(self, function):
        self.refused(function, "sample 5: target_lengths is 4", lengths=self.changed(LENGTHS, 5, 4))

    @functions
    def test_negative_target_length(self, function):
        self.refused(function, "sample 5: target_lengths is -1", lengths=self.changed(LENGTHS, 5, -1))

    @functions
    @dtypes
    @pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf])
    @pytest.mark.parametrize("k", [0, 4, K - 1])
    def test_scores_without_meaning(self, function, dtype, value, k, threads):
        """In the blank, in a class of no target, in the last class; in the last frame that counts."""
        for x in (scores(dtype=dtype), scores(dtype=dtype).requires_grad_()):
            with torch.no_grad():
                x[FRAMES[5] - 1, 5, k] = value
            self.refused(function, r"sample 5: the scores of frame 7 hold NaN or \+inf", x=x)
            with torch.no_grad():
                x[FRAMES[5] - 1, 5] = 0
                x[FRAMES[5] :, 5] = value  # beyond: not read
            assert self.call(function, x=x).isfinite()

    @functions
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("length", [0, 3])
    def test_scores_without_meaning_where_no_path_fits_or_no_label_is(self, function, value, length, threads):
        """One sample, whose frames all threads share; a target that cannot fit hides nothing."""
        x = scores(40, 1, 3)
        x[33] = -1000.0
        x[34, 0, 2] = value
        for frames in (40, 35):
            with pytest.raises(ValueError, match="sample 0: the scores of frame 34"):
                function(x, torch.ones(1, 36, dtype=torch.int64), [frames], [12 * length])
        assert function(x, torch.ones(1, 36, dtype=torch.int64), [34], [length]).isfinite()

    def test_a_frame_of_logits_that_are_all_minus_infinity(self, threads):
        x = scores()
        x[6, 5] = -math.inf
        self.refused(ctc_loss_from_logits, "sample 5: the scores of frame 6 hold −inf in every class", x=x)
        losses, dx = gradient(ctc_loss, x, TARGETS, FRAMES, LENGTHS, reduction="none", zero_infinity=True)
        assert losses[5] == 0  # as a log-probability it is a probability of zero
        assert not dx[:, 5].any()

    @functions
    def test_sizes_that_do_not_match(self, function):
        self.refused(function, "input_lengths holds 6 lengths for a batch of 7", frames=FRAMES[:6])
        self.refused(function, "target_lengths holds 8 lengths for a batch of 7", lengths=(*LENGTHS, 1))
        self.refused(function, "targets hold 6 rows for a batch of 7", targets=TARGETS[:6])
        as_tensors = {"frames": torch.tensor(FRAMES), "lengths": torch.tensor(LENGTHS)}  # what a kernel reads in place
        self.refused(function, "targets hold 6 rows for a batch of 7", targets=TARGETS[:6], **as_tensors)
        self.refused(function, "sample 6: targets hold 14 labels, target_len", targets=torch.ones(14, dtype=torch.long))

    @functions
    def test_integers_that_are_none(self, function):
        self.refused(function, "targets must be integers", error=TypeError, targets=TARGETS.float())
        self.refused(function, "input_lengths must be integers", error=TypeError, frames=torch.ones(N))
        self.refused(function, "target_lengths must be integers", error=TypeError, lengths=torch.ones(N) == 1)

    def test_after_an_error_the_next_call_is_right(self):
        x = scores()
        expected = self.call(ctc_loss_from_logits)
        x[0, 0, 0] = math.nan
        for _ in range(3):
            self.refused(ctc_loss_from_logits, "sample 0", x=x)
        assert torch.equal(self.call(ctc_loss_from_logits), expected)
