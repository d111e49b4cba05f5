"""Layers, CTC and CRNN are written from scratch: their syntax trees use none of torch's own layers.

Allowed are tensor primitives (products, elementwise functions, reductions, gathers, views), ``nn.Module``,
``nn.Parameter``, containers, initialisers, ``autograd.Function`` and the container for packed sequences.
"""

import ast
import re
from pathlib import Path

import pytest

import minicrnn

PACKAGE = Path(minicrnn.__file__).parent
FILES = sorted(
    path
    for pattern in ("layers/**/*.py", "ctc/**/*.py", "crnn.py", "presets.py", "initialisation.py")
    for path in PACKAGE.glob(pattern)
)

ALLOWED_IN_NN = {
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterList",
    "Sequential",
    "init",
    "utils.rnn.PackedSequence",
    "utils.rnn.pack_padded_sequence",
    "utils.rnn.pad_packed_sequence",
}
# What torch calls its layers and losses when they are functions or methods.
LAYER_FUNCTIONS = re.compile(
    r"""(conv(_transpose|_tbc)?[123]?d?|convolution|.*pool[123]d.*|(native_)?(batch|layer|group|instance|rms)_norm|
        local_response_norm|dropout_?|native_dropout|feature_dropout_?|alpha_dropout_?|relu6?_?|prelu|rrelu_?|celu_?|
        selu_?|elu_?|threshold_?|(log_)?softmax|lstm(_cell)?|gru(_cell)?|rnn_(tanh|relu)(_cell)?|_?ctc_loss|_?linear|
        bilinear|addmm_activation|_?im2col|_?col2im|embedding(_bag)?)""",
    re.VERBOSE,
)
# Ways to reach a layer, or a derivative, without naming it in plain sight.
BACK_DOORS = (
    "eval",
    "exec",
    "__import__",
    "importlib",
    "torch._C",
    "torch._VF",
    "torch._nn",
    "torch.ops",
    "torch.autograd.grad",
    "torch.autograd.functional",
    "torch.compile",
    "torch.func",
    "torch.jit",
)


def dotted_name(node: ast.expr, imported: dict[str, str]) -> str | None:
    """With ``from torch import nn``, ``nn.Conv2d`` is ``torch.nn.Conv2d``; None if not a chain of names."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        parent = dotted_name(node.value, imported)
        return None if parent is None else f"{parent}.{node.attr}"
    return None


def is_forbidden(name: str) -> bool:
    if any(name == door or name.startswith((door + ".", door + ",")) for door in BACK_DOORS):
        return True
    if name.startswith("torch.nn."):
        # Below an allowed name, or on the way to one, as torch.nn.utils is.
        rest = name.removeprefix("torch.nn.") + "."
        return not any(rest.startswith(a + ".") or (a + ".").startswith(rest) for a in ALLOWED_IN_NN)
    parts = name.split(".")
    return parts[0] == "torch" and any(
        LAYER_FUNCTIONS.fullmatch(part) or part.endswith("_backward") for part in parts[1:]
    )


def forbidden_uses(source: str) -> list[str]:
    """Lines that use what is not ours, as "line: name"."""
    tree = ast.parse(source)
    imported: dict[str, str] = {}
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                found.append((node.lineno, alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.append((node.lineno, f"{node.module}.{alias.name}"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = dotted_name(node, imported)
            if name is not None:
                found.append((node.lineno, name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = dotted_name(node.func.value, imported) or ""
            # A method of a tensor, such as x.relu(); modules and classes of our own may use such names, too.
            if not receiver.startswith(("minicrnn", "self")) and LAYER_FUNCTIONS.fullmatch(node.func.attr):
                found.append((node.lineno, f"torch.{node.func.attr}"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            target = dotted_name(node.args[0], imported) or ""
            if target.partition(".")[0] == "torch":
                found.append((node.lineno, f"torch.ops, by getattr on {target}"))
    return [f"{line}: {name}" for line, name in sorted(set(found)) if is_forbidden(name)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_is_from_scratch(path):
    assert forbidden_uses(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch.nn.functional as F",
        "from torch.nn import functional",
        "from torch.nn.functional import relu",
        "from torch import nn\nnn.functional.pad(x, (1, 1))",
        "from torch import nn\nlayer = nn.Conv2d(1, 2, 3)",
        "from torch.nn import LSTM",
        "from torch.nn import CTCLoss as Loss",
        "from torch import nn\nclass Mine(nn.Linear): pass",
        "import torch\ny = torch.conv2d(x, w)",
        "import torch as t\ny = t.nn.ReLU()(x)",
        "import torch\ntorch.lstm(x)",
        "import torch\ntorch.ctc_loss(x)",
        "import torch\ntorch.max_pool2d(x, 2)",
        "import torch\ntorch.max_pool2d_with_indices(x, 2)",
        "import torch\ntorch.batch_norm(x)",
        "import torch\ntorch.dropout(x, 0.5, True)",
        "import torch\ntorch.relu(x)",
        "import torch\ntorch.ops.aten.convolution(x)",
        "import torch\ntorch._C._nn.max_pool2d(x)",
        "import torch\ntorch._VF.lstm(x)",
        "from torch import _VF",
        "import torch\ntorch.autograd.grad(y, x)",
        "from torch.autograd import grad",
        "import torch\nf = torch.nn.utils.rnn.pad_sequence",
        "import torch\nf = getattr(torch, name)",
        "y = x.relu()",
        "y = x.log_softmax(2)",
        "import torch\ntorch.convolution_backward(x)",
    ],
)
def test_the_check_bites(line):
    assert forbidden_uses(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "import torch\nfrom torch import nn\nclass Mine(nn.Module): pass",
        "from torch import nn\nnn.Parameter(x); nn.Sequential(); nn.init.uniform_(x)",
        "import torch\ny = x @ w.mT + torch.tanh(x).amax(2)",
        "import torch\nclass F(torch.autograd.Function): pass",
        "from torch.nn.utils.rnn import PackedSequence",
        "from minicrnn.layers.linear import linear_backward\nlinear_backward(dy, saved)",
    ],
)
def test_primitives_are_allowed(line):
    assert forbidden_uses(line) == []
