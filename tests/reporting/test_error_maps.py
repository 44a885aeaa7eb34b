import re

import numpy as np

from pipeline.reporting.error_maps import error_map, error_range, gradient


def test_colours_go_from_dark_to_bright_with_the_error():
    errors = np.linspace(0, 25, 200)[None]
    colours = np.asarray(error_map(errors, 20).convert("RGB")).astype(int)[0]
    brightness = colours @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) >= 0).all() and brightness[0] < 5 and brightness[-1] > 200
    assert (colours[errors[0] >= 20] == colours[-1]).all()  # the range and beyond


def test_the_range_is_of_all_errors_and_leaves_out_the_rarest():
    small, large = np.full((100, 100), 2.5), np.full((100, 100), 9.2)
    large[0, 0] = 200
    assert error_range([small, large]) == 10
    assert error_range([np.zeros((4, 4))]) == 1


def test_the_gradient_has_the_colours_of_the_map():
    ends = np.asarray(error_map(np.array([[0.0, 1.0]]), 1).convert("RGB"))[0]
    stops = re.findall(r"#(\w{6})", gradient())
    assert [stops[0], stops[-1]] == [bytes(colour).hex() for colour in ends]
