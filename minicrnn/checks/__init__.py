"""Checks that are public: of hand-written gradients, and of the answers to the tutorials' exercises.

``check_gradients`` and ``compare_with`` are for your own layers. ``exercises_*`` hold a check for each exercise.
"""

from minicrnn.checks.gradients import GradientReport, check_gradients, compare_with

__all__ = ["GradientReport", "check_gradients", "compare_with"]
