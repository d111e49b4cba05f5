"""The simulator of CUDA is chosen when numba is imported, so its tests run in a process of their own.

``test_simulated.py`` starts that process; ``NUMBA_ENABLE_CUDASIM=1 pytest tests/kernels/simulated`` does it by hand.
"""

import os

IN_SIMULATOR = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
collect_ignore = [] if IN_SIMULATOR else ["simulated"]
collect_ignore_glob = [] if IN_SIMULATOR else ["simulator*.py"]
