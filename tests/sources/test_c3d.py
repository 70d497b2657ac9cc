"""The C3D reader against two independent readers (ezc3d and the c3d package), and against broken files."""

from __future__ import annotations

import gzip
import struct
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lmm.core.errors import InputError, LmmError, NotMotionError
from lmm.pipeline.convert import to_body25
from lmm.sources import c3d
from lmm.sources.reading import read, read_people

FILES = [
    "btk_plugin_gait/PiG_Motion-FlatFoot-One.c3d",
    "kineticstoolkit/racing_full.c3d",
    "opensim/walking5.c3d",
    "pycgm/Movement_trial.c3d",
    "pycgm/Static_trial.c3d",
    "pyomeca/markers_analogs.c3d",
    "stoop_lifting/neu_t169_f250f350.c3d",
    "stoop_lifting/stoop1_t169_f620f800.c3d",
    "stoop_lifting/stoop2_t169_f1395f1590.c3d",
]
FULL_BODY = [f for f in FILES if not f.startswith(("pyomeca", "kinetics", "opensim"))]
UPRIGHT = [f for f in FULL_BODY if "stoop1" not in f and "stoop2" not in f]


def points_of(path: Path):
    data = path.read_bytes()
    header = c3d.parse_header(data, path)
    return header, c3d.read_points(data, header)


def without_gaps_of_zero(points):
    points = np.array(points, dtype=np.float64)
    points[(points == 0).all(axis=-1)] = np.nan
    return points


@pytest.mark.parametrize("name", FILES)
def test_every_sample_equals_ezc3d(shared_data, name):
    ezc3d = pytest.importorskip("ezc3d")
    path = shared_data / "c3d_samples" / name
    header, points = points_of(path)
    other = ezc3d.c3d(str(path))
    expected = without_gaps_of_zero(np.transpose(other["data"]["points"][:3], (2, 1, 0)))
    np.testing.assert_array_equal(points, expected)
    assert header.rate == pytest.approx(other["header"]["points"]["frame_rate"])
    assert header.all_strings("POINT", "LABELS") == other["parameters"]["POINT"]["LABELS"]["value"]


@pytest.mark.parametrize("name", FILES)
def test_every_sample_equals_the_c3d_package(shared_data, name):
    package = pytest.importorskip("c3d")
    path = shared_data / "c3d_samples" / name
    with path.open("rb") as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frames = np.stack([p for _, p, _ in package.Reader(f).read_frames()])
        except (KeyError, AssertionError) as e:
            pytest.skip(f"the c3d package cannot read this file: {e}")
    expected = without_gaps_of_zero(frames[..., :3])
    expected[frames[..., 3] < 0] = np.nan
    np.testing.assert_array_equal(points_of(path)[1], expected)


def test_faster_than_the_c3d_package(shared_data):
    package = pytest.importorskip("c3d")
    path = shared_data / "c3d_samples/pyomeca/markers_analogs.c3d"

    def other() -> None:
        with path.open("rb") as f, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            list(package.Reader(f).read_frames())

    def seconds(function) -> float:
        def once() -> float:
            start = time.perf_counter()
            function()
            return time.perf_counter() - start

        return min(once() for _ in range(3))

    assert seconds(lambda: points_of(path)) < seconds(other)


@pytest.mark.parametrize("name", UPRIGHT)
def test_upright_and_not_mirrored(shared_data, name):
    motion = to_body25(read(shared_data / "c3d_samples" / name))
    assert motion.observed.any(axis=0).sum() == 21  # all but the eyes and small toes
    middle = {
        j: np.nanmedian(motion.joint(j), axis=0) for j in motion.skeleton.joints if j[1:] not in ("Eye", "SmallToe")
    }
    for high, low in (
        ("Nose", "Neck"),
        ("Neck", "MidHip"),
        ("MidHip", "RKnee"),
        ("RKnee", "RAnkle"),
        ("LKnee", "LAnkle"),
    ):
        assert middle[high][1] > middle[low][1] + 0.1
    assert middle["RAnkle"][1] - middle["RBigToe"][1] > 0.01
    left_is_left(middle)


def left_is_left(middle):
    forward = middle["RBigToe"] + middle["LBigToe"] - middle["RHeel"] - middle["LHeel"]
    left = np.cross((0, 1, 0), forward)
    left = left / np.linalg.norm(left)
    for joint, least in (("Hip", 0.1), ("Shoulder", 0.2), ("Ear", 0.1)):
        assert (middle[f"L{joint}"] - middle[f"R{joint}"]) @ left > least
    assert (middle["Nose"] - (middle["LEar"] + middle["REar"]) / 2) @ (forward / np.linalg.norm(forward)) > 0.05


def test_metadata_of_real_files(shared_data):
    folder = shared_data / "c3d_samples"
    gait = read(folder / FILES[0])
    assert (gait.fps, gait.start_s, gait.num_frames) == (100, 3.41, 255)
    assert not any(j.endswith(("Angles", "Power", "Force", "Moment", "GRF")) for j in gait.skeleton.joints)
    trial = read(folder / "pycgm/Movement_trial.c3d")
    assert trial.start_s == pytest.approx(694 / 120)
    assert {"LFHD", "LHEE", "CentreOfMass"} <= set(trial.skeleton.joints)
    assert not any(j.startswith("*") for j in trial.skeleton.joints)
    lifting = read(folder / "pyomeca/markers_analogs.c3d")
    assert lifting.meta["subject"] == "pyomeca_Daphnee"
    assert "boite" in lifting.meta["notes"][0]
    assert lifting.skeleton.num_joints == 43
    # the arm that the set does not name is the right one
    body = to_body25(lifting)
    right = np.nanmedian(body.joint("RHip") - body.joint("LHip"), axis=0)
    assert np.nanmedian(body.joint("RShoulder") - body.joint("Neck"), axis=0) @ right > 0
    with pytest.raises(InputError, match="--up"):
        read(folder / "kineticstoolkit/racing_full.c3d")
    racer = to_body25(read(folder / "kineticstoolkit/racing_full.c3d", up="y"))
    seen = {j for j, o in zip(racer.skeleton.joints, racer.observed.any(axis=0), strict=True) if o}
    assert seen == {"RShoulder", "RElbow", "RWrist", "LElbow"}
    assert racer.fps == pytest.approx(69.99261)


BODY = ["RASI", "LASI", "RPSI", "LPSI", "RKNE", "LKNE", "RANK", "LANK", "RHEE", "LHEE"]
PLACES = np.array(
    [
        [10, 10, 100],
        [10, -10, 100],
        [-10, 5, 100],
        [-10, -5, 100],
        [0, 12, 50],
        [0, -12, 50],
        [0, 12, 10],
        [0, -12, 10],
        [-8, 10, 4],
        [-8, -10, 4],
    ],
    dtype=float,
) * (1, -1, 10)  # right at -y, facing +x, z up: millimetres


def build(labels=BODY, places=PLACES, frames=3, scale=-1.0, processor=84, units="mm", rate=50.0, analog=0, **changes):
    """Write a C3D file by the letter of the format guide, independent of the reader."""
    order = ">" if processor == 86 else "<"

    def real(values):
        if processor != 85:
            return np.asarray(values, order + "f4").tobytes()
        return (np.asarray(values, "<f4") * 4).view("<u2").reshape(-1, 2)[:, ::-1].tobytes()

    def record(name, group, kind, shape, raw):
        body = bytes([kind & 0xFF, len(shape), *shape]) + raw + b"\0"
        head = bytes([len(name), group & 0xFF]) + name.encode()
        return head + struct.pack(order + "H", len(body) + 2) + body

    section = bytes([5, 0xFF]) + b"POINT" + struct.pack(order + "H", 3) + b"\0"
    small = [("USED", len(labels)), ("FRAMES", changes.get("stated", frames)), ("DATA_START", 0)]
    for name, value in small:
        section += record(name, 1, 2, [], struct.pack(order + "H", value))
    section += record("SCALE", 1, 4, [], real([scale])) + record("RATE", 1, 4, [], real([rate]))
    if units is not None:
        section += record("UNITS", 1, -1, [len(units)], units.encode())
    for k in range(0, len(labels), 255):
        part = labels[k : k + 255]
        width = max(len(x) for x in part)
        name = "LABELS" if k == 0 else f"LABELS{k // 255 + 1}"
        section += record(name, 1, -1, [width, len(part)], "".join(x.ljust(width) for x in part).encode())
    section += b"\0\0"
    blocks = -(-(len(section) + 4) // 512)
    section = (bytes([1, 0x50, blocks, processor]) + section).ljust(blocks * 512, b"\0")
    first = changes.get("first", 1)
    last = changes.get("last", first + frames - 1)
    points = changes.get("points", len(labels))
    header = bytes([2, 0x50]) + struct.pack(order + "4HH", points, analog, first, last, 0) + real([scale])
    header += struct.pack(order + "2H", changes.get("block", blocks + 2), 1 if analog else 0) + real([rate])
    data = b""
    for t in range(frames):
        four = np.column_stack([places + t, changes.get("residual", np.zeros(len(places)))])
        if scale < 0:
            data += real(four.ravel()) + real(np.full(analog, 9.0))
        else:
            four[:, :3] /= scale
            data += np.round(four).astype(order + "i2").tobytes() + np.full(analog, 9, order + "i2").tobytes()
    return header.ljust(512, b"\0") + section + data


@pytest.mark.parametrize("processor", [84, 85, 86])
@pytest.mark.parametrize("scale", [-1.0, 0.1])
@pytest.mark.parametrize("analog", [0, 7])
def test_all_encodings(tmp_path, processor, scale, analog):
    (tmp_path / "a.c3d").write_bytes(build(processor=processor, scale=scale, analog=analog))
    _, points = points_of(tmp_path / "a.c3d")
    np.testing.assert_allclose(points, PLACES + np.arange(3)[:, None, None], atol=1e-4)
    motion = read(tmp_path / "a.c3d")
    assert motion.fps == 50
    assert motion.meta["up"] == "z up, judged by the body"
    np.testing.assert_allclose(motion.joint("RANK")[0], (0, 0.1, 0.012), atol=1e-6)


@pytest.mark.parametrize(
    ("units", "factor"), [("mm", 1e-3), ("MM", 1e-3), ("m ", 1.0), ("cm", 0.01), ("Millimeters", 1e-3)]
)
def test_units(tmp_path, units, factor):
    (tmp_path / "a.c3d").write_bytes(build(units=units))
    assert read(tmp_path / "a.c3d").joint("RASI")[0, 1] == pytest.approx(1000 * factor)


@pytest.mark.parametrize("units", [None, "furlong"])
def test_unknown_units_name_the_option(tmp_path, units):
    (tmp_path / "a.c3d").write_bytes(build(units=units))
    with pytest.raises(InputError, match="--units"):
        read(tmp_path / "a.c3d")
    assert read(tmp_path / "a.c3d", units="cm").joint("RASI")[0, 1] == pytest.approx(10)


def test_gaps_unlabelled_gzip_and_first_frame(tmp_path):
    places = np.vstack([PLACES, [[5, 5, 5]]])
    places[8] = np.nan
    residual = np.zeros(11)
    residual[9] = -1
    raw = build([*BODY, "*11"], places, residual=residual, first=101)
    (tmp_path / "a.c3d.gz").write_bytes(gzip.compress(raw))
    motion = read(tmp_path / "a.c3d.gz")
    assert motion.skeleton.joints == tuple(BODY)
    assert motion.start_s == 2.0
    assert not motion.observed[:, 8:].any()
    assert motion.observed[:, :8].all()
    assert (motion.confidence[:, :8] == 1).all()
    places[7] = -np.arange(3)[1]
    (tmp_path / "b.c3d").write_bytes(build([*BODY, "*11"], places))
    assert motion.num_frames == 3
    assert not read(tmp_path / "b.c3d").observed[1, 7]


def test_more_than_255_labels(tmp_path):
    extra = [f"X{k}" for k in range(300)]
    places = np.vstack([np.full((300, 3), 7.0), PLACES])
    (tmp_path / "a.c3d").write_bytes(build([*extra, *BODY], places))
    assert read(tmp_path / "a.c3d").skeleton.joints[-10:] == tuple(BODY)


def test_several_subjects_and_objects(tmp_path):
    labels = [f"Ann:{x}" for x in BODY] + [f"Bob:{x}" for x in BODY] + ["Box:a", "Box:b"]
    places = np.vstack([PLACES, PLACES + np.array([0, 900, 0]), np.full((2, 3), 40.0)])
    (tmp_path / "a.c3d").write_bytes(build(labels, places))
    ann, bob = read_people(tmp_path / "a.c3d")
    assert (ann.meta["person"], bob.meta["person"]) == ("Ann", "Bob")
    assert "Box" in ann.meta["notes"][0]
    np.testing.assert_allclose(bob.joint("LANK") - ann.joint("LANK"), np.tile((0, 0, -0.9), (3, 1)), atol=1e-5)
    with pytest.raises(InputError, match="Ann, Bob"):
        read(tmp_path / "a.c3d")
    parts = [f"Upper:{x}" for x in BODY[:4]] + [f"Lower:{x}" for x in BODY[4:]]
    (tmp_path / "b.c3d").write_bytes(build(parts))
    assert read(tmp_path / "b.c3d").skeleton.joints == tuple(BODY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"last": 5000, "stated": 5000}, "says 5000 frames but holds 3"),
        ({"last": 2}, "2 frames in its header and 3 in its parameters"),
        ({"points": 60000}, "60000 points"),
        ({"points": 0}, "0 points"),
        ({"block": 60000}, "holds 0"),
        ({"block": 0}, "holds 0"),
        ({"first": 9, "last": 1}, "frames"),
        ({"scale": float("nan")}, "SCALE"),
        ({"rate": 0.0}, "--source-fps"),
        ({"rate": float("nan")}, "--source-fps"),
    ],
)
def test_impossible_counts(tmp_path, changes, message):
    with np.errstate(invalid="ignore"):
        (tmp_path / "a.c3d").write_bytes(build(**changes))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.c3d", format="c3d")


def test_every_truncation_is_one_clear_error(tmp_path):
    whole = build(analog=4)
    for size in range(0, len(whole), 13):
        (tmp_path / "a.c3d").write_bytes(whole[:size])
        with pytest.raises(InputError):
            read(tmp_path / "a.c3d", format="c3d")
    (tmp_path / "a.c3d").write_bytes(whole[:300])
    with pytest.raises(NotMotionError):
        read(tmp_path / "a.c3d")


def test_damaged_bytes_never_crash(tmp_path):
    whole = build(analog=4)
    random = np.random.default_rng(5)
    for _ in range(200):
        broken = bytearray(whole)
        for at in random.integers(2, 1024, random.integers(1, 8)):
            broken[at] = random.choice([0, 1, 2, 4, 127, 128, 254, 255, random.integers(256)])
        (tmp_path / "a.c3d").write_bytes(bytes(broken))
        with suppress(LmmError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(tmp_path / "a.c3d", format="c3d")
