"""The table of a network: against the plan's own table, and every shape against a forward pass with hooks."""

from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.shapes import ReceptiveField
from minicrnn.summary import describe
from tests.strategies import feature_stacks


class MapToSequence(nn.Module):
    """[N, C, 1, W] -> [W, N, C], by torch."""

    def forward(self, x):
        return x.squeeze(2).permute(2, 0, 1)


class TorchCRNN(nn.Module):
    """The three stages that describe() looks for, made of torch.nn layers."""

    def __init__(self, features, recurrent):
        super().__init__()
        self.features = features
        self.to_sequence = MapToSequence()
        self.recurrent = recurrent

    def forward(self, x):
        x = self.to_sequence(self.features(x))
        for module in self.recurrent:
            x = module(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


def vgg(classes=37):
    layers = OrderedDict()
    channels = 1
    pools = {1: 2, 2: 2, 4: (2, 1), 6: (2, 1)}
    for i, out in enumerate((64, 128, 256, 256, 512, 512, 512), start=1):
        kernel, padding = (2, 0) if i == 7 else (3, 1)
        norm = i in (5, 6)
        layers[f"conv{i}"] = nn.Conv2d(channels, out, kernel, padding=padding, bias=not norm)
        if norm:
            layers[f"norm{i}"] = nn.BatchNorm2d(out)
        layers[f"relu{i}"] = nn.ReLU()
        if i in pools:
            layers[f"pool{i}"] = nn.MaxPool2d(pools[i])
        channels = out
    first, second = nn.LSTM(512, 256, bidirectional=True), nn.LSTM(256, 256, bidirectional=True)
    return TorchCRNN(
        nn.Sequential(layers),
        nn.ModuleList([first, nn.Linear(512, 256), second, nn.Linear(512, classes)]),
    )


def assert_shapes_are_those_of_a_forward_pass(model, channels, height, width):
    table = describe(model, height, width)
    seen = {}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, __, y, path=path: seen.update({path: y}))
    with torch.no_grad():
        model.eval()(torch.zeros(3, channels, height, width))
    assert table.rows[0].shape == (channels, height, width)
    for row in table.rows[1:]:
        output = seen[row.modules[-1]]
        output = output[0] if isinstance(output, tuple) else output
        batch = 0 if len(row.shape) == 3 else 1
        assert output.shape[batch] == 3
        assert row.shape == (*output.shape[:batch], *output.shape[batch + 1 :]), row.station
    assert table.parameters == sum(row.parameters for row in table.rows)
    assert table.parameters == sum(p.numel() for p in model.parameters())
    return table


def test_vgg_is_the_table_of_the_plan():
    table = assert_shapes_are_those_of_a_forward_pass(vgg(), 1, 32, 100)
    assert [row.cells()[:2] for row in table.rows] == [
        ("image", "N × 1 × 32 × 100"),
        ("conv 64, 3×3, p1; ReLU; max-pool 2×2", "N × 64 × 16 × 50"),
        ("conv 128, 3×3, p1; ReLU; max-pool 2×2", "N × 128 × 8 × 25"),
        ("conv 256, 3×3, p1; ReLU", "N × 256 × 8 × 25"),
        ("conv 256, 3×3, p1; ReLU; max-pool (2,1) stride (2,1)", "N × 256 × 4 × 25"),
        ("conv 512, 3×3, p1, no bias; BatchNorm; ReLU", "N × 512 × 4 × 25"),
        ("conv 512, 3×3, p1, no bias; BatchNorm; ReLU; max-pool (2,1) stride (2,1)", "N × 512 × 2 × 25"),
        ("conv 512, 2×2, p0; ReLU", "N × 512 × 1 × 24"),
        ("map-to-sequence (drop H, frames first)", "24 × N × 512"),
        ("BiLSTM 256, then linear 512→256", "24 × N × 256"),
        ("BiLSTM 256, then linear 512→37", "24 × N × 37"),
    ]
    assert 8.32e6 < table.parameters < 8.34e6
    frame = table.rows[8]
    assert frame.width == ReceptiveField(size=46, jump=4, start=-19)
    assert frame.height == ReceptiveField(size=86, jump=16, start=-27)
    assert [row.context for row in table.rows[8:]] == ["", "all frames", "all frames"]
    assert table.rows[5].modules == ("features.conv5", "features.norm5", "features.relu5")


@pytest.mark.parametrize("width", [17, 64, 333])
def test_frames_follow_the_width(width):
    model = vgg()
    assert_shapes_are_those_of_a_forward_pass(model, 1, 32, width)


@given(feature_stacks(2), st.integers(12, 30), st.integers(12, 30))
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_drawn_stacks_have_the_shapes_of_a_forward_pass(stack, height, width):
    try:
        stack.eval()(torch.zeros(1, 2, height, width))
    except RuntimeError:
        with pytest.raises(ValueError, match=r"^[0-9.]+ \(.* cannot take N × .* × .* × "):
            describe(stack, height, width)
    else:
        assert_shapes_are_those_of_a_forward_pass(stack, 2, height, width)


@given(st.integers(1, 2), st.booleans(), st.integers(0, 2), st.integers(1, 4), st.booleans())
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_drawn_recurrent_parts_have_the_shapes_of_a_forward_pass(layers, both, projection, classes, bridge):
    lstm = nn.LSTM(2, 3, layers, bidirectional=both, proj_size=projection)
    features = (projection or 3) * (2 if both else 1)
    middle = [nn.Dropout(0.5), nn.Linear(features, 4), nn.ReLU()] if bridge else []
    recurrent = nn.ModuleList([lstm, *middle, nn.LSTM(4 if bridge else features, 5), nn.Linear(5, classes)])
    model = TorchCRNN(nn.Sequential(nn.Conv2d(1, 2, 3)), recurrent)
    table = assert_shapes_are_those_of_a_forward_pass(model, 1, 3, 9)
    assert len(table.rows) == 5
    assert table.rows[3].context == ("all frames" if both else "past frames")
    assert table.rows[4].context == table.rows[3].context


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Conv2d(4, 8, (3, 5), padding=(1, 2)), "conv 8, 3×5, p(1,2)"),
        (nn.Conv2d(4, 8, 3, (2, 1), dilation=(1, 2)), "conv 8, 3×3, p0, stride (2,1), dilation (1,2)"),
        (nn.Conv2d(4, 8, 3, 2, groups=2), "conv 8, 3×3, p0, stride 2, groups 2"),
        (nn.Conv2d(4, 8, 3, padding="same", bias=False), "conv 8, 3×3, p same, no bias"),
        (nn.Conv2d(4, 8, 3, padding="valid"), "conv 8, 3×3, p0"),
        (nn.MaxPool2d(2, (2, 1), (0, 1)), "max-pool 2×2 stride (2,1) p(0,1)"),
        (nn.MaxPool2d(3, dilation=2, ceil_mode=True), "max-pool 3×3 dilation 2 ceil"),
        (nn.AvgPool2d((3, 1), 2), "avg-pool (3,1) stride 2"),
        (nn.LocalResponseNorm(5), "LRN over 5"),
        (nn.Dropout(0.25), "dropout 0.25"),
    ],
)
def test_station_names_every_option(module, text):
    assert describe(nn.Sequential(module)).rows[1].station == text


def test_recurrent_station_names_every_option():
    lstm = nn.LSTM(2, 8, 2, proj_size=3)
    recurrent = nn.ModuleList([lstm, nn.Dropout(0.5), nn.Linear(3, 4), nn.Linear(4, 5)])
    table = describe(TorchCRNN(nn.Conv2d(1, 2, 3), recurrent), 3, 9)
    assert [row.station for row in table.rows[3:]] == [
        "LSTM 8, 2 layers, projected to 3; dropout 0.5, then linear 3→4",
        "linear 4→5",
    ]


def test_columns_are_aligned_and_the_total_comes_last():
    text = str(describe(vgg()))
    assert repr(describe(vgg())) == text
    head, rule, *rows, last_rule, total = text.splitlines()
    assert rule == last_rule == "─" * max(map(len, [head, *rows]))
    assert total.split() == ["total", "8,329,765"]
    for heading in ("shape", "receptive field", "jump"):
        column = head.index(heading)
        assert all(row[column - 2 : column] == "  " and row[column] != " " for row in rows)
    end = head.index("parameters") + len("parameters")
    assert all(row[end - 1].isdigit() and row[end] == " " for row in rows)
    assert total[:end] == total


def test_a_shared_module_counts_once_in_the_total():
    conv = nn.Conv2d(1, 1, 3, padding=1)
    table = describe(nn.Sequential(conv, conv))
    assert table.parameters == 10
    assert [row.width.size for row in table.rows] == [1, 3, 5]


class WithLoss(TorchCRNN):
    def __init__(self, features, recurrent):
        super().__init__(features, recurrent)
        self.loss = nn.CTCLoss()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Sequential(nn.ReLU(), nn.Tanh()), TypeError, "1: Tanh is not a layer known here"),
        (nn.Bilinear(1, 1, 1), TypeError, "^Bilinear is not a layer"),
        (WithLoss(nn.ReLU(), nn.Linear(1, 1)), TypeError, r"WithLoss has modules besides .*\['loss'\]"),
        (
            nn.Sequential(OrderedDict(pool=nn.MaxPool2d(20), conv=nn.Conv2d(1, 1, (2, 5)))),
            ValueError,
            r"^conv \(conv 1, 2×5, p0\) cannot take N × 1 × 1 × 5, along its height: a window of extent 2",
        ),
        (nn.MaxPool2d((1, 101)), ValueError, "^max-pool .* cannot take N × 1 × 32 × 100, along its width"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)), ValueError, "^1 .*in_channels=3, got N × 4"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5)), ValueError, "^1 .*num_features=5, got N × 4"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Linear(4, 4)), ValueError, "put MapToSequence before it"),
        (nn.Sequential(MapToSequence()), ValueError, "drops a height of 1, got N × 1 × 32 × 100"),
        (TorchCRNN(nn.MaxPool2d(32), nn.LSTM(2, 3)), ValueError, "input_size=2, got 3 × N × 1:"),
        (TorchCRNN(nn.MaxPool2d(32), nn.Linear(2, 3)), ValueError, "in_features=2, got 3 × N × 1:"),
        (TorchCRNN(nn.MaxPool2d(32), nn.ReLU6()), TypeError, "^recurrent: ReLU6 is not"),
        (TorchCRNN(nn.MaxPool2d(32), nn.MaxPool2d(1)), ValueError, "reads an image, got a sequence"),
        (TorchCRNN(nn.MaxPool2d(32), nn.LSTM(1, 3, batch_first=True)), ValueError, "frames come first"),
    ],
)
def test_what_does_not_fit_is_named(model, error, message):
    with pytest.raises(error, match=message):
        describe(model)
