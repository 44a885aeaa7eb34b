"""Composing the profiles of conf/."""

import shutil

import pytest

from pipeline.errors import InputError
from pipeline.profiles import compose
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("config.yaml", "- _self_", "- nothing: else\n  - _self_"),
        ("config.yaml", "mirror: null", "mirror: ${benchmark.nothing}"),
        ("config.yaml", "mirror: null", "mirror: ${benchmark"),
        ("profile/quick.yaml", "profile: quick", "profile: [quick"),
        ("config.yaml", None, None),
    ],
)
def test_a_mistake_is_one_error(tmp_path, file, before, after):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    if before is None:
        (tmp_path / "conf" / file).unlink()
    else:
        text = (tmp_path / "conf" / file).read_text()
        assert before in text
        (tmp_path / "conf" / file).write_text(text.replace(before, after))
    with pytest.raises(InputError, match=r"conf: quick cannot be composed \(.+\); correct it there"):
        compose("quick", tmp_path / "params.yaml", tmp_path / "conf")
    assert not (tmp_path / "params.yaml").exists()
