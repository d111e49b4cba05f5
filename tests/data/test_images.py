"""Images of every mode, depth and state of repair."""

import contextlib
import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minicrnn.data.images import ImageError, MissingImageError, load_image


def ramp(height=6, width=10):
    """Grey values 0 .. 255, a different one at each end of each row."""
    return np.linspace(0, 255, height * width).round().astype(np.uint8).reshape(height, width)


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width, height):
    """A PNG that claims a size and has hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


GREY = Image.fromarray(ramp())


@pytest.mark.parametrize(
    "mode", ["L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F", "P"]
)
def test_modes_that_hold_grey_keep_it(mode):
    through = {"La": "LA", "RGBa": "RGBA", "P": "L"}.get(mode, "RGB")  # what Pillow can make the mode from
    image = GREY.convert(through).convert(mode)
    np.testing.assert_allclose(load_image(image).astype(int), ramp(), atol=2)  # HSV and YCbCr round


def test_bilevel_is_black_and_white():
    assert set(np.unique(load_image(GREY.convert("1")))) == {0, 255}


def test_palette_colours_are_looked_up():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    assert load_image(image).tolist() == [[76, 29]]  # the luma of red and of blue


def test_lab_takes_the_lightness():
    lightness = Image.merge("LAB", [GREY, Image.new("L", GREY.size, 128), Image.new("L", GREY.size, 128)])
    np.testing.assert_array_equal(load_image(lightness), ramp())


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparent_pixels_are_white(mode):
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    image.putpixel((2, 0), (0, 0, 0, 128))
    image = image.convert("RGBA" if mode == "PA" else mode)
    if mode == "PA":
        palette = Image.new("L", (3, 1)).convert("P").convert("PA")
        palette.putalpha(image.getchannel("A"))
        image = palette
    np.testing.assert_allclose(load_image(image).astype(int), [[255, 0, 127]], atol=1)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_transparent_palette_colour_of_a_file_is_white(transparency, tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 10, 10, 20, 20, 20])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png", transparency=transparency)
    assert load_image(tmp_path / "p.png").tolist() == [[255, 20]]


def test_transparent_grey_of_a_file_is_white(tmp_path):
    Image.fromarray(np.array([[7, 9]], np.uint8)).save(tmp_path / "l.png", transparency=7)
    assert load_image(tmp_path / "l.png").tolist() == [[255, 9]]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_and_not_clipped(suffix, tmp_path):
    values = (ramp().astype(np.uint32) * 257).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    np.testing.assert_array_equal(load_image(tmp_path / f"deep.{suffix}"), ramp())


def test_sixteen_bits_of_the_other_byte_order():
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257 * 3, 65535))
    assert load_image(image).tolist() == [[3, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 1]], np.int32), [0, 255]),
        (np.array([[0, 255]], np.int32), [0, 255]),
        (np.array([[3, 200]], np.int64), [3, 200]),
        (np.array([[257, 65535]], np.int32), [1, 255]),
        (np.array([[257, 65535]], np.uint16), [1, 255]),
        (np.array([[0, 257]], np.uint16), [0, 1]),
        (np.array([[0, 10**6, 2 * 10**6]]), [0, 128, 255]),
        (np.array([[-1.0, 0.0, 1.0]]), [0, 128, 255]),
        (np.array([[0.2, 0.4]]), [51, 102]),
        (np.array([[0.2, 102.0]]), [0, 102]),
        (np.array([[0.5]], np.float16), [128]),
        (np.array([[-7.0, -7.0]]), [0, 0]),
        (np.array([[True, False]]), [255, 0]),
        (np.array([[False, False]]), [0, 0]),
        (np.array([[0, 1]], np.uint8), [0, 1]),
    ],
)
def test_arrays_of_any_type_are_scaled(values, expected):
    result = load_image(values)
    assert result.dtype == np.uint8
    assert result.tolist() == [expected]


def test_pillow_int_and_float_images_are_scaled_like_arrays():
    assert load_image(Image.fromarray(np.array([[0, 65535]], np.int32))).tolist() == [[0, 255]]
    assert load_image(Image.fromarray(np.array([[0.0, 0.6]], np.float32))).tolist() == [[0, 153]]


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([None, 1, 2, 3, 4]))
def test_arrays_and_tensors_agree(height, width, channels):
    shape = (height, width) if channels is None else (height, width, channels)
    values = np.random.default_rng(height * width).integers(0, 256, shape, dtype=np.uint8)
    tensor = torch.from_numpy(values)
    from_tensor = load_image(tensor if channels is None else tensor.movedim(-1, 0))
    np.testing.assert_array_equal(load_image(values), from_tensor)
    assert from_tensor.shape == (height, width)


def test_rgb_weights_are_the_luma():
    assert load_image(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).tolist() == [[76, 150, 29]]


def test_bfloat16_and_gradients_are_no_hindrance():
    assert load_image(torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16)).tolist() == [[0, 255]]
    assert load_image(torch.tensor([[0.0, 1.0]], requires_grad=True)).tolist() == [[0, 255]]


def test_the_result_is_no_view_of_the_source():
    source = ramp()
    load_image(source)[:] = 0
    np.testing.assert_array_equal(source, ramp())


@pytest.mark.parametrize("shape", [(), (3,), (0, 5), (5, 0), (4, 4, 5), (1, 2, 3, 4)])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(ImageError, match=r"shape"):
        load_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "values", [np.array([[np.nan]]), np.array([[0.0, np.inf]]), np.array([["a"]]), np.array([[1j]])]
)
def test_arrays_of_other_values_are_refused(values):
    with pytest.raises(ImageError, match="the crop"):
        load_image(values, name="the crop")


def test_other_types_are_refused():
    with pytest.raises(TypeError):
        load_image(5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(orientation, tmp_path):
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }[orientation](ramp())
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "tif"):  # Pillow turns TIFF itself: it must not be turned twice
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif)
        np.testing.assert_array_equal(load_image(tmp_path / f"a.{suffix}"), ramp())


def test_broken_exif_does_not_matter(tmp_path):
    Image.fromarray(ramp()).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), ramp())


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (4, 3), value) for value in (40, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "a.gif").tolist() == [[40] * 4] * 3


def test_path_string_and_bytes_are_the_same(tmp_path):
    path = tmp_path / "名前 é.png"
    path.write_bytes(encoded(GREY))
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(load_image(source), ramp())


def test_a_bomb_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    for size in (60_000, 12_000):  # Pillow raises at the first and warns at the second
        path.write_bytes(png_header(size, size))
        with pytest.raises(ImageError, match=r"bomb\.png .*[Cc]rop"):
            load_image(path)


def test_the_limit_names_both_sizes_and_can_be_moved():
    with pytest.raises(ImageError, match="10×6 pixels, more than the limit of 59"):
        load_image(encoded(GREY), max_pixels=59)
    assert load_image(encoded(GREY), max_pixels=60).shape == (6, 10)


def test_a_truncated_file_is_named(tmp_path):
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8))
    for options in (
        {"format": "PNG"},
        {"format": "JPEG"},
        {"format": "TIFF"},
        {"format": "GIF"},
        {"format": "BMP"},
    ):
        data = encoded(noisy, **options)
        path = tmp_path / "cut.png"
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ImageError, match=r"cut\.png is broken or truncated"):
            load_image(path)


@given(st.integers(0, 2**31), st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"]))
def test_damaged_files_give_an_image_or_an_image_error(seed, kind):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(GREY, format=kind))
    for position in rng.integers(0, len(data), 5):
        data[position] = rng.integers(256)
    with contextlib.suppress(ImageError):  # anything else is an error of ours
        assert load_image(bytes(data), max_pixels=10**6).dtype == np.uint8


def test_files_that_are_no_images_are_named(tmp_path):
    cases = {"empty.png": b"", "text.png": b"hello", "short.png": b"\x89PNG\r\n\x1a\n"}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=name):
            load_image(tmp_path / name)
    with pytest.raises(ImageError, match=r"empty \(0 bytes\)"):
        load_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(MissingImageError, match=r"nowhere\.png does not exist"):
        load_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="empty"):
        load_image(b"")
    for path in (Path("a\0b.png"), Path("x" * 5000), Path("/dev/null")):
        with pytest.raises(ImageError):
            load_image(path)


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not an ordinary file"):
        load_image(tmp_path / "pipe.png")


def test_warning_filters_survive_many_threads():
    data = [encoded(GREY, format="GIF"), encoded(GREY), png_header(12_000, 12_000)]
    before = list(warnings.filters)

    def work():
        for _ in range(20):
            for source in data[:2]:
                load_image(source)
            with pytest.raises(ImageError):
                load_image(data[2])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
