"""Which ways of running the published networks are on the fronts, and the figure and rows of them."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.reporting.pareto import Point, front, pareto_panels, pareto_points, pareto_table, size_of, time_of
from pipeline.reporting.results import read_results
from tests.reporting.synthetic_run import make_params, write_run

costs = st.integers(1, 5)


def point(psnr: float, ms: float, size: int = 1000) -> Point:
    return Point("edsr", 4, "binary", "engine_int8", psnr, ms, size)


@given(st.lists(st.builds(point, costs, costs, costs), min_size=1, max_size=12))
def test_a_front_is_what_nothing_betters_and_betters_all_else(points):
    kept = front(points, time_of)
    for mine in points:
        bettered = any(
            o.psnr_y >= mine.psnr_y and o.ms <= mine.ms and (o.psnr_y, o.ms) != (mine.psnr_y, mine.ms) for o in points
        )
        assert bettered != (mine in kept)
    assert [p.ms for p in kept] == sorted(p.ms for p in kept)


def test_points_join_published_accuracy_with_the_time_of_this_run(tmp_path):
    params = make_params(["vdsr"], [2], ["embedded-test"])
    write_run(tmp_path, params, images=False)
    results = read_results(tmp_path, params)
    real, binary = pareto_points(results.zoo)
    assert (real.weights, real.ms, real.bytes) == ("float", 412.5, 3_200_000)
    assert (binary.by, binary.ms) == ("engine_int8", 125.0)
    assert real.psnr_y == (30.5 + 27.4 + 24.4) / 3
    assert abs(real.psnr_y - binary.psnr_y - 0.18) < 1e-9
    cells = [[cell.text for cell in row.cells] for row in pareto_table([real, binary]).rows]
    assert [row[-1] for row in cells] == ["time and size", "time and size"]
    assert [row[4] for row in cells] == ["412 ms", "125 ms"]
    over_time, over_size = pareto_panels([real, binary])
    assert "27.43 dB, 412 ms, on the front" in over_time.drawing
    assert "27.25 dB, 800 kB, on the front" in over_size.drawing
    int8 = replace(real, by="openvino_int8", ms=50.0)
    assert "openvino" not in pareto_panels([real, binary, int8])[1].drawing.lower()  # its file is another
    assert [row.cells[-1].text for row in pareto_table([binary]).rows] == [""]  # nothing to compare with
    assert pareto_panels([binary]) == []
    as_large = replace(binary, bytes=real.bytes)
    assert front([real, as_large], size_of) == [real]  # equal in size, so the better one is ahead
