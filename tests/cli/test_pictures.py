"""Every kind of image that people have goes through `binsr upscale` as it should."""

import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.cli.pictures import read
from pipeline.data.resize import imresize
from pipeline.engine import Engine
from pipeline.inference import upscale as torch_upscale
from tests.engine.random_networks import save_random
from tests.small import picture

RGB, GREY, ALPHA = picture(0, 10, 14), picture(1, 10, 14, channels=1), picture(2, 10, 14, channels=1)
GREY16 = np.random.default_rng(3).integers(0, 65536, (10, 14), np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION = 0x0112


@pytest.fixture
def upscaled(tmp_path, network, binsr):
    """Write an image by Pillow, upscale it, and give the result, decoded, with what was said on standard error."""

    def through(image, name="image.png", to=None, **options):
        source, target = tmp_path / name, tmp_path / "out" / (to or name)
        image.save(source, **options)
        done = binsr("upscale", source, "-o", target, "--model", network, "--overwrite")
        assert done.code == 0, done.err
        result = Image.open(target)
        result.load()
        return result, done.err

    return through


def with_alpha(pixels, alpha):
    image = Image.fromarray(pixels)
    image.putalpha(Image.fromarray(alpha))
    return image


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "webp", "bmp"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["RGB", "L"])
def test_rgb_and_grey(upscaled, engine, pixels, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    result, said = upscaled(Image.fromarray(pixels), f"image.{suffix}", **options)
    expected = engine.upscale(pixels)
    if suffix == "webp" and pixels is GREY:  # which has no grey
        expected = engine.upscale(np.repeat(GREY[:, :, None], 3, axis=2))
    assert np.array_equal(np.asarray(result), expected)
    assert said == ""


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["RGBA", "LA"])
def test_alpha_is_resized_bicubically(upscaled, engine, pixels, suffix):
    result, said = upscaled(with_alpha(pixels, ALPHA), f"image.{suffix}")
    assert result.mode == ("RGBA" if pixels is RGB else "LA")
    values = np.asarray(result)
    assert np.array_equal(values[..., :-1].squeeze(), engine.upscale(pixels))
    assert np.array_equal(values[..., -1], imresize(ALPHA, 2))
    assert said == ""


@pytest.mark.parametrize("format", ["jpg", "bmp"])
def test_without_room_for_alpha_it_is_laid_on_white(upscaled, engine, format):
    alpha = np.zeros_like(ALPHA)
    alpha[:, 7:] = 255
    result, said = upscaled(with_alpha(RGB, alpha), to=f"image.{format}")
    assert result.mode == "RGB" and "image.png" in said and "transparency" in said and said.count("\n") == 1
    share = imresize(alpha, 2)[:, :, None] / 255
    expected = np.rint(engine.upscale(RGB) * share + 255 * (1 - share))
    assert np.abs(np.asarray(result).astype(float) - expected).mean() < (4 if format == "jpg" else 1e-9)
    assert np.asarray(result)[:, :8].min() > 245


def test_palette_becomes_rgb_and_with_transparency_rgba(upscaled, engine):
    palette = Image.fromarray(RGB).quantize(5)
    colours = np.asarray(palette.convert("RGB"))
    result, _ = upscaled(palette)
    assert result.mode == "RGB" and np.array_equal(np.asarray(result), engine.upscale(colours))
    result, _ = upscaled(palette, transparency=2)
    assert result.mode == "RGBA"
    opaque = np.where(np.asarray(palette) == 2, 0, 255).astype(np.uint8)
    assert np.array_equal(np.asarray(result)[..., :3], engine.upscale(colours))
    assert np.array_equal(np.asarray(result)[..., 3], imresize(opaque, 2))


def test_bilevel_becomes_grey(upscaled, engine):
    result, _ = upscaled(Image.fromarray(GREY > 127))
    assert result.mode == "L"
    assert np.array_equal(np.asarray(result), engine.upscale(np.where(GREY > 127, 255, 0).astype(np.uint8)))


@pytest.mark.parametrize("name", ["image.png", "image.tif"])
def test_16_bit_grey_stays_16_bit(upscaled, engine, name):
    result, said = upscaled(Image.fromarray(GREY16), name)
    assert result.mode == "I;16" and said == ""
    assert np.array_equal(np.asarray(result), engine.upscale(GREY16))


def test_16_bit_grey_of_which_one_is_transparent_is_read_with_8_and_a_note(upscaled, engine):
    pixels = GREY16.copy()
    pixels[:, 7:] = 301  # beside a grey that differs in its lower eight bits alone
    pixels[0] = 300
    result, said = upscaled(Image.fromarray(pixels), transparency=301)
    assert result.mode == "LA" and "16 bits" in said and said.count("\n") == 1
    values = np.asarray(result)
    assert np.array_equal(values[..., 0], engine.upscale(np.rint(pixels / 257).astype(np.uint8)))
    assert np.array_equal(values[..., 1], imresize(np.where(pixels == 301, 0, 255).astype(np.uint8), 2))


def test_16_bit_grey_is_reduced_with_a_note_where_the_format_has_8(upscaled, engine):
    result, said = upscaled(Image.fromarray(GREY16), to="image.bmp")
    assert np.array_equal(np.asarray(result), np.rint(engine.upscale(GREY16) / 257))
    assert "16 bits" in said


@pytest.mark.parametrize("model", ["srresnet", "vdsr"])
def test_16_bits_are_computed_with_their_precision(tmp_path, model):
    overrides = {"layers": 3, "channels": 8} if model == "vdsr" else {"blocks": 1, "channels": 8}
    module = save_random(tmp_path / "n.safetensors", model, 2, "binary", **overrides).float()
    engine = Engine.load(tmp_path / "n.safetensors")
    for image in (GREY16, np.stack([GREY16, GREY16.T.reshape(10, 14), GREY16[::-1]], axis=2)):
        ours = engine.upscale(image)
        assert ours.dtype == np.uint16 and len(np.unique(ours % 257)) > 100  # not 8 bits in disguise
        assert np.abs(ours.astype(int) - torch_upscale(module, image).astype(int)).max() <= 2
    small = engine.upscale(RGB)
    assert np.array_equal(np.rint(engine.upscale(RGB.astype(np.uint16) * 257) / 257), small)


def png16(path, values, colour_type):
    """A PNG with 16 bits a channel, which Pillow writes in grey alone."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize(("channels", "colour_type", "mode"), [(3, 2, "RGB"), (2, 4, "LA")])
def test_16_bit_colour_is_read_with_8_and_a_note(tmp_path, network, engine, binsr, channels, colour_type, mode):
    values = np.random.default_rng(0).integers(0, 65536, (6, 7, channels), np.uint16)
    png16(tmp_path / "a.png", values, colour_type)
    done = binsr("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", network)
    assert done.code == 0 and "16 bits" in done.err and done.err.count("\n") == 1
    result = Image.open(tmp_path / "b.png")
    assert result.mode == mode
    pixels = (values >> 8).astype(np.uint8)[..., : 3 if mode == "RGB" else 1].squeeze()
    assert np.array_equal(
        np.asarray(result)[..., : pixels.ndim if mode == "RGB" else 1].squeeze(), engine.upscale(pixels)
    )


@pytest.mark.parametrize("name", ["image.jpg", "image.tif", "image.png", "image.webp"])
def test_orientation_is_applied_and_reset(upscaled, name):
    pixels = np.full((16, 32, 3), 20, np.uint8)
    pixels[:, :16] = 230  # bright on the left: on top when shown, turned clockwise
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "A camera"
    result, _ = upscaled(image, name, exif=exif)
    assert result.size == (32, 64)
    upright = engine_input(image, name, exif)
    assert upright.shape == (32, 16, 3) and upright[:14].mean() > 200 > 50 > upright[18:].mean()
    assert result.getexif().get(ORIENTATION, 1) == 1
    assert result.getexif()[0x010F] == "A camera"


def engine_input(image, name, exif):
    """The upright pixels of an image of orientation 6, as its file has them."""
    file = BytesIO()
    image.save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], "PNG"))
    return np.rot90(np.asarray(Image.open(file)), -1)


@pytest.mark.parametrize("name", ["image.png", "image.webp", "image.jpg"])
def test_exif_that_cannot_be_read_is_left_out(upscaled, name):
    result, said = upscaled(Image.fromarray(RGB), name, exif=b"Exif\0\0xxxxxxxx")
    assert result.size == (2 * RGB.shape[1], 2 * RGB.shape[0]) and not len(result.getexif())
    assert name.endswith("jpg") or "EXIF" in said


@pytest.mark.parametrize("pixels", [RGB, GREY, GREY16], ids=["RGB", "L", "I;16"])
def test_an_oriented_image_is_upscaled_upright(upscaled, engine, pixels):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    result, _ = upscaled(Image.fromarray(pixels), exif=exif)
    assert np.array_equal(np.asarray(result), engine.upscale(np.ascontiguousarray(np.rot90(pixels, -1))))


def cameras_exif():
    """Exposure time and size in the Exif folder, latitude in the GPS folder."""
    exif = Image.Exif()
    for folder, tags in ((0x8769, {0x829A: 0.01, 0xA002: 14, 0xA003: 10}), (0x8825, {1: "N", 2: (46.0, 30.0, 0.0)})):
        exif.get_ifd(folder).update(tags)
        exif[folder] = tags
    return exif


@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["RGB", "L"])
@pytest.mark.parametrize(
    ("name", "to"), [("a.jpg", "b.jpg"), ("a.jpg", "b.tif"), ("a.tif", "b.tif"), ("a.tif", "b.png"), ("a.png", "b.tif")]
)
def test_exif_keeps_the_scene_and_drops_the_size(tmp_path, upscaled, engine, name, to, pixels):
    result, said = upscaled(Image.fromarray(pixels), name, to, exif=cameras_exif())
    kept = result.getexif().get_ifd(0x8769)
    assert float(kept[0x829A]) == pytest.approx(0.01) and 0xA002 not in kept and 0xA003 not in kept
    assert [float(value) for value in result.getexif().get_ifd(0x8825)[2]] == [46, 30, 0]
    assert said == ""
    if not to.endswith("jpg"):
        assert np.array_equal(np.asarray(result), engine.upscale(np.asarray(Image.open(tmp_path / name))))


def test_tiff_is_compressed_where_exif_has_no_folders(upscaled):
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    result, _ = upscaled(Image.fromarray(RGB), "image.jpg", "image.tif", exif=exif)
    assert result.info["compression"] == "tiff_adobe_deflate" and result.getexif()[0x010F] == "A camera"


def replaced(path, old, new):
    """Replace the last occurrence of some bytes of a file."""
    before, found, after = path.read_bytes().rpartition(old)
    assert found
    path.write_bytes(before + new + after)


def test_damaged_tags_and_pages_are_named_and_the_others_go_on(tmp_path, network, binsr):
    (tmp_path / "in").mkdir()
    image = Image.fromarray(RGB)
    for name in ("tag.jpg", "whole.jpg"):
        image.save(tmp_path / "in" / name, exif=cameras_exif())
    replaced(tmp_path / "in/tag.jpg", b"\0\2\0\5", b"\0\2\0\1")  # latitude in bytes instead of rational numbers
    image.save(tmp_path / "in/page.tif", save_all=True, append_images=[image])
    replaced(tmp_path / "in/page.tif", b"\0\1\4\0", b"\0\2\4\0")  # the second page's width under another tag
    done = binsr("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", network)
    assert done.code == 2 and sorted(os.listdir(tmp_path / "out")) == ["tag.jpg", "whole.jpg"]
    page, tag = done.err.splitlines()
    assert page.startswith("error: ") and "page.tif: cannot be read" in page
    assert tag.startswith("note: ") and "tag.jpg: its EXIF data cannot be read; it is left out" in tag


def test_what_the_encoder_refuses_is_named(tmp_path, network, binsr, monkeypatch):
    def save(self, path, *arguments, **options):
        raise RuntimeError("Error setting from dictionary")

    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", save)
    done = binsr("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", network)
    assert done.code == 2 and "b.png: cannot be written (Error setting from dictionary)" in done.err
    assert "1 failed" in done.out and [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_pillows_warnings_are_not_shown(tmp_path, network, binsr, monkeypatch, recwarn):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # of 140, which Pillow warns of while it opens
    done = binsr("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", network)
    assert done.code == 0 and done.err == "" and not recwarn.list


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_the_colour_profile_is_kept(upscaled, suffix):
    result, said = upscaled(Image.fromarray(RGB), f"image.{suffix}", icc_profile=SRGB)
    assert result.info["icc_profile"] == SRGB and said == ""


def test_a_profile_that_the_format_cannot_hold_is_left_out_with_a_note(upscaled):
    result, said = upscaled(Image.fromarray(RGB), to="image.bmp", icc_profile=SRGB)
    assert "profile" in said and "icc_profile" not in result.info


def test_exif_that_the_format_cannot_hold_is_left_out_with_a_note(upscaled):
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    result, said = upscaled(Image.fromarray(RGB), to="image.bmp", exif=exif)
    assert "BMP cannot hold EXIF data; left out" in said and not result.getexif()


def test_cmyk_becomes_rgb(upscaled, engine):
    image = Image.fromarray(RGB).convert("CMYK")
    result, _ = upscaled(image, "image.tif", to="image.png")
    assert result.mode == "RGB"
    assert np.array_equal(np.asarray(result), engine.upscale(np.asarray(image.convert("RGB"))))


def test_cmyk_with_a_broken_profile_is_converted_without(upscaled):
    result, _ = upscaled(Image.fromarray(RGB).convert("CMYK"), "image.jpg", icc_profile=b"no profile")
    assert result.mode == "RGB" and "icc_profile" not in result.info


def cmyk_profile():
    """An ICC profile by which full black ink is black, any other ink a grey of lightness 50, and no ink white."""
    lightness = [0 if corner % 2 else 128 if corner else 255 for corner in range(2**4)]  # K is the last of the inks
    corners = b"".join(bytes([value, 128, 128]) for value in lightness)
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * ramp + corners + 3 * ramp
    table += bytes(-len(table) % 4)
    tags = struct.pack(">I4sII", 1, b"A2B0", 128 + 16, len(table)) + table
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I4sI4s4s4s12x4s", 128 + len(tags), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    header = header.ljust(68, b"\0") + d50
    return header.ljust(128, b"\0") + tags


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_goes_through_its_profile(tmp_path, upscaled, engine, suffix):
    image = Image.new("CMYK", (8, 6), (255, 0, 0, 0))  # cyan without a profile
    image.save(tmp_path / f"cyan.{suffix}", icc_profile=cmyk_profile())
    grey = read(tmp_path / f"cyan.{suffix}").pixels
    assert grey.shape == (6, 8, 3) and np.abs(grey.astype(int) - 119).max() <= 2  # sRGB of L* 50
    result, _ = upscaled(image, f"image.{suffix}", to="image.png", icc_profile=cmyk_profile())
    assert np.array_equal(np.asarray(result), engine.upscale(grey))
    assert "icc_profile" not in result.info  # which was for CMYK


@pytest.mark.parametrize("name", ["image.png", "image.webp", "image.tif"])
def test_of_several_frames_the_first_is_taken_with_a_note(upscaled, engine, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    more = [Image.fromarray(255 - RGB), Image.fromarray(RGB // 2)]
    result, said = upscaled(Image.fromarray(RGB), name, save_all=True, append_images=more, **options)
    assert "3 frames" in said and said.count("\n") == 1
    assert getattr(result, "n_frames", 1) == 1
    assert np.array_equal(np.asarray(result.convert("RGB")), engine.upscale(RGB))


def test_jpeg_is_written_with_full_colour_and_webp_as_it_was(tmp_path, upscaled, engine):
    result, _ = upscaled(Image.fromarray(RGB), "image.jpg", quality=80)
    decoded = np.asarray(Image.open(tmp_path / "image.jpg"))
    assert [layer[1:3] for layer in result.layer] == [(1, 1)] * 3  # no subsampling
    assert np.abs(np.asarray(result).astype(float) - engine.upscale(decoded)).mean() < 4
    for lossless, name in ((True, b"VP8L"), (False, b"VP8 ")):
        upscaled(Image.fromarray(RGB), "image.webp", lossless=lossless)
        assert (tmp_path / "out/image.webp").read_bytes()[12:16] == name
    upscaled(Image.fromarray(RGB), "image.png", to="image.webp")
    assert (tmp_path / "out/image.webp").read_bytes()[12:16] == b"VP8L"


@pytest.mark.parametrize("mode", ["F", "I"])
def test_other_kinds_of_pixels_are_refused(tmp_path, network, binsr, mode):
    Image.fromarray(np.full((4, 5), 70000, np.float32 if mode == "F" else np.int32)).save(tmp_path / "a.tif")
    done = binsr("upscale", tmp_path / "a.tif", "-o", tmp_path / "b.tif", "--model", network)
    assert done.code == 2 and "a.tif" in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "b.tif").exists()


def test_a_size_beyond_the_format_is_refused(tmp_path, network, binsr):
    Image.new("L", (8200, 1)).save(tmp_path / "a.png")
    done = binsr("upscale", tmp_path / "a.png", "-o", tmp_path / "b.webp", "--model", network)
    assert done.code == 2 and "16383" in done.err and not (tmp_path / "b.webp").exists()
