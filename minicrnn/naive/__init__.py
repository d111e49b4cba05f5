"""The blackboard: each operation as its definition, in plain loops over NumPy float64.

Nothing here is fast. It is short enough to compare with the formula by eye, and so it is the oracle: the
vectorised layers are tested against it, and it is tested against brute force and against ``torch``.
Each file has ``<operation>_forward`` and, right below it, ``<operation>_backward``.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
