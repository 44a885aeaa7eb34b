"""Bicubic must land on the published table, which checks data, resize, rounding, borders and PSNR at once."""

import numpy as np
import pytest

from pipeline.data.download import fetch
from pipeline.data.preparation import prepare
from pipeline.data.prepared import PreparedSet
from pipeline.data.registry import dataset
from pipeline.data.resize import imresize
from pipeline.metrics import psnr
from tests.conftest import SHARED

MIRROR = SHARED / "mirror"

PUBLISHED = {
    "Set5": {2: 33.66, 3: 30.39, 4: 28.42},
    "Set14": {2: 30.24, 3: 27.55, 4: 26.00},
    "B100": {2: 29.56, 3: 27.21, 4: 25.96},
    "Urban100": {2: 26.88, 3: 24.46, 4: 23.14},
}

pytestmark = pytest.mark.skipif(not MIRROR.is_dir(), reason="needs the image sets in ../shared/mirror")


@pytest.fixture(scope="module", params=PUBLISHED)
def prepared(request, tmp_path_factory):
    data = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SR_MIRROR", raising=False)
        fetch(dataset(request.param), data / "raw" / request.param, str(MIRROR))
    prepare(data / "raw" / request.param, data / "prepared" / request.param, [2, 3, 4])
    return PreparedSet.open(data / "prepared" / request.param)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_psnr_is_the_published_one(prepared, scale):
    values = [
        psnr(imresize(prepared.lr(i, scale), scale), prepared.hr(i, scale), border=scale) for i in range(len(prepared))
    ]
    assert np.mean(values) == pytest.approx(PUBLISHED[prepared.name][scale], abs=0.03)
