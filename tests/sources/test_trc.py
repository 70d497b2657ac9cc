"""The TRC reader against an independent parse with the csv module, and on the format's variants."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from lmm.core.errors import InputError, NotMotionError
from lmm.pipeline.convert import to_body25
from lmm.sources import trc
from lmm.sources.files import Input
from lmm.sources.reading import detect, read

FILES = {  # file: (rows, markers, separator)
    "trc_opensim/dataWithBlanksForMissingMarkers.trc": (464, 40, "\t"),
    "trc_opensim/dataWithEformat.trc": (5, 14, "\t"),
    "trc_opensim/gait10dof18musc_walk_CRLF_line_ending.trc": (10, 41, "\t"),
    "trc_opensim/std_walking5_markers.trc": (112, 40, "\t"),
    "trc_opensim/subject01_walk1.trc": (151, 41, "\t"),
    "trc_opensim/walk_free_01.trc": (73, 41, "\t"),
    "trc_opensim/walk_free_02.trc": (75, 41, "\t"),
    "pose2sim_balancing/trc/S00_P00_T01_BalancingTrial_0-100.trc": (100, 21, "\t"),
    "pose2sim_balancing/trc/S00_P00_T01_BalancingTrial_0-100_filt_butterworth_LSTM.trc": (100, 64, "\t"),
    "c3d_samples/pyomeca/markers.trc": (93, 51, ","),
}


@pytest.mark.parametrize("name", FILES)
def test_every_sample_equals_the_csv_module(shared_data, name):
    rows, markers, separator = FILES[name]
    path = shared_data / name
    _, names, times, points = trc.parse(path.read_text(), path)
    assert points.shape == (rows, markers, 3)
    assert len(names) == markers
    with path.open(newline="") as f:
        table = [r for r in list(csv.reader(f, delimiter=separator))[5:] if r and r[0].strip().isdigit()]
    assert len(table) == rows
    for t, row in enumerate(table):
        assert float(row[1]) == times[t]
        for j in range(markers):
            cells = [c.strip() for c in row[2 + 3 * j : 5 + 3 * j]]
            seen = len(cells) == 3 and all(c and "nan" not in c.lower() for c in cells)
            if seen and any(float(c) for c in cells):
                assert points[t, j].tolist() == [float(c) for c in cells]
            else:
                assert np.isnan(points[t, j]).all()


def test_blanks_are_gaps(shared_data):
    motion = read(shared_data / "trc_opensim/dataWithBlanksForMissingMarkers.trc")
    assert 0.3 < motion.missing_fraction < 0.9
    assert not motion.observed[0, 1]
    assert (motion.confidence[motion.observed] == 1).all()


def test_pyomeca_agrees_with_its_c3d(shared_data):
    """Two trials of one subject with one marker set: segments that are rigid have one shape."""
    folder = shared_data / "c3d_samples/pyomeca"
    text, binary = read(folder / "markers.trc"), read(folder / "markers_analogs.c3d")
    assert set(binary.skeleton.joints) <= set(text.skeleton.joints)

    def length(motion, a, b):
        return float(np.nanmedian(np.linalg.norm(motion.joint(a) - motion.joint(b), axis=1)))

    for a, b in (("ASISr", "ASISl"), ("ASISr", "PSISl"), ("EPICl", "EPICm"), ("STYLr", "STYLu"), ("EPICl", "STYLu")):
        assert length(text, a, b) == pytest.approx(length(binary, a, b), abs=0.01)
    for motion in (text, binary):
        assert motion.meta["up"].startswith("z up")
        assert np.nanmedian(motion.joint("T1")[:, 1] - motion.joint("ASISr")[:, 1]) > 0.3


@pytest.mark.parametrize(
    ("name", "up", "fps", "start"),
    [
        ("trc_opensim/subject01_walk1.trc", "y", 60, 0.0),
        ("trc_opensim/walk_free_01.trc", "y", 60, 3.067),
        ("trc_opensim/dataWithBlanksForMissingMarkers.trc", "z", 250, 0.0),
        ("pose2sim_balancing/trc/S00_P00_T01_BalancingTrial_0-100.trc", "y", 60, 1 / 60),
    ],
)
def test_axis_rate_and_start(shared_data, name, up, fps, start):
    motion = read(shared_data / name)
    assert motion.meta["up"].startswith(f"{up} up")
    assert motion.fps == fps
    assert "notes" not in motion.meta
    assert motion.start_s == pytest.approx(start)
    body = to_body25(motion)
    high = {j: np.nanmedian(body.joint(j)[:, 1]) for j in ("Neck", "MidHip", "RHeel", "LHeel")}
    assert high["Neck"] > high["MidHip"] + 0.3
    assert high["MidHip"] > max(high["RHeel"], high["LHeel"]) + 0.5
    forward = np.nanmedian(sum(body.joint(f"{s}BigToe") - body.joint(f"{s}Heel") for s in "RL"), axis=0)
    left = np.cross((0, 1, 0), forward)
    assert np.nanmedian(body.joint("LHip") - body.joint("RHip"), axis=0) @ left > 0


def test_keypoints_win_over_augmented_markers(shared_data):
    motion = read(shared_data / next(n for n in FILES if "LSTM" in n))
    assert motion.skeleton.table == "keypoints"


def test_uneven_clock_is_kept(shared_data):
    motion = read(shared_data / "trc_opensim/std_walking5_markers.trc")
    assert motion.times is not None
    assert motion.times[-1] == pytest.approx(4.408)
    assert motion.fps == pytest.approx(25)
    assert any("250" in n for n in motion.meta["notes"])
    assert read(shared_data / "trc_opensim/std_walking5_markers.trc", source_fps=25).times is None


def test_no_axis_without_legs_or_trunk(shared_data):
    path = shared_data / "trc_opensim/dataWithEformat.trc"
    with pytest.raises(InputError, match="--up"):
        read(path)
    assert read(path, up="y").fps == pytest.approx(119.88012)


NAMES = ["RHeel", "LHeel", "RASI", "LASI", "RPSI", "LPSI", "RKNE", "LKNE"]
PLACES = [
    (0, 0, 0.1),
    (0, 0, -0.1),
    (0.1, 1, 0.1),
    (0.1, 1, -0.1),
    (-0.1, 1, 0.1),
    (-0.1, 1, -0.1),
    (0, 0.5, 0.1),
    (0, 0.5, -0.1),
]


def build(units="m", rate="50", times=(0, 0.02, 0.04), separator="\t", end="\n", names=NAMES, cells=None):
    s = separator
    lines = [
        s.join(["PathFileType", "4", "(X/Y/Z)", "a.trc"]),
        s.join(
            [
                "DataRate",
                "CameraRate",
                "NumFrames",
                "NumMarkers",
                "Units",
                "OrigDataRate",
                "OrigDataStartFrame",
                "OrigNumFrames",
            ]
        ),
        s.join([f"  {rate} ", rate, "   900", str(len(names)), f" {units} ", rate, "1", "900"]),
        s.join(["Frame#", "Time", *(x for n in names for x in (n, "", ""))]),
        s.join(["", "", *(f"{a}{k + 1}" for k in range(len(names)) for a in "XYZ")]),
        "",
    ]
    row = cells or [f"{x:.6e}" for p in PLACES for x in p]
    lines += [s.join([str(k + 1), f"{t}", *row]) for k, t in enumerate(times)]
    return end.join(lines) + end


def written(folder, text, name="a.trc"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("separator", ["\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_written_variants(tmp_path, separator, end):
    motion = read(written(tmp_path, build(separator=separator, end=end)))
    assert motion.fps == 50
    assert motion.num_frames == 3
    np.testing.assert_allclose(motion.positions[1], PLACES, atol=1e-6)


@pytest.mark.parametrize("missing", ["", " ", "NaN", "nan", "-nan(ind)", "1.#QNAN", "-1.#IND00", "N/A", "null"])
def test_spellings_of_missing(tmp_path, missing):
    cells = [missing] * 3 + [str(x) for p in PLACES[1:] for x in p]
    motion = read(written(tmp_path, build(cells=cells)))
    assert not motion.observed[:, 0].any()
    assert motion.observed[:, 1:].all()


def test_short_rows_zeros_and_a_byte_order_mark(tmp_path):
    cells = ["0", "0.0", "0e0"] + [str(x) for p in PLACES[1:7] for x in p]
    motion = read(written(tmp_path, "\N{BYTE ORDER MARK}" + build(cells=cells)))
    assert not motion.observed[:, [0, 7]].any()
    assert motion.observed[:, 1:7].all()


def test_units(tmp_path):
    assert read(written(tmp_path, build(units="MM"))).joint("RASI")[0, 1] == pytest.approx(0.001)
    path = written(tmp_path, build(units="parsec"))
    with pytest.raises(InputError, match="--units"):
        read(path)
    assert read(path, units="cm").joint("RASI")[0, 1] == pytest.approx(0.01)


def test_rate_comes_from_the_time_column(tmp_path):
    motion = read(written(tmp_path, build(rate="100")))
    assert motion.fps == pytest.approx(50)
    assert "100 frames" in motion.meta["notes"][0]
    assert read(written(tmp_path, build(rate="59.94", times=[round(k / 59.94, 3) for k in range(200)]))).fps == 59.94
    assert read(written(tmp_path, build(rate="30", times=["", "", ""]))).fps == 30
    with pytest.raises(InputError, match="--source-fps"):
        read(written(tmp_path, build(rate="x", times=["0"])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (build()[:40], "header"),
        (build(times=()), "no rows"),
        (build().replace("Frame#", "Row"), "Frame#"),
        (build().replace("2\t0.02\t", "2\t0.02\tx"), "line 8"),
        (build(cells=["1"] * 30), "line 7 has 32 cells"),
        (build(cells=["inf"] * 24), "infinite"),
        (build(cells=["1e999"] * 24), "infinite"),
        (build(names=[f"A{k}" for k in range(8)]), "no names of a human body"),
        (build(names=[f"A{k}" for k in range(3000)]), "3000 markers"),
        (build(names=[f"A{k}" for k in range(2000)]) + "1\n" * 20_000, "Split it"),
        (build().encode() + b"\xff\xfe", "UTF-8"),
    ],
)
def test_one_clear_error(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(written(tmp_path, text))


def test_sniffed_by_content(tmp_path):
    assert detect(Input(written(tmp_path, build(), "noname.txt"))).name == "trc"
    with pytest.raises(NotMotionError):
        detect(Input(written(tmp_path, "Frame#,Time\n1,2\n", "b.trc")))
