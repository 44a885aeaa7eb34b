"""Where 80 % holds, and why not elsewhere, from sizes that can be checked by hand."""

import pytest

from pipeline.records import Footprint
from pipeline.reporting.sizes import size_findings, size_table
from pipeline.runs import Run


def export(blocks, upsample, packed=0):
    parts = {"head": 50, "blocks": blocks, "upsample": upsample, "tail": 30, "norm": 10}
    total = sum(parts.values()) + 100
    layers = {"binary": packed, "float": total - packed - 110, "other": 10}
    return Footprint(total, 100, layers, parts, 1000, 0)


FILES = {
    Run("srresnet", 2, "float"): export(4610, 200),
    Run("srresnet", 2, "binary"): export(310, 200, packed=300),
    Run("srresnet", 4, "float"): export(2810, 2000),
    Run("srresnet", 4, "binary"): export(310, 2000, packed=300),
}


def test_findings_give_the_shares_and_the_reason():
    (text,) = size_findings(FILES, 0.8)
    assert text.startswith("SRResNet saves at least 80 % at ×2 (86.0 %); not at ×4 (50.0 %)")
    assert "takes 40.0 % of the float file, so that 56.0 % is the most that packing can save." in text


def test_rows_split_the_file_into_its_parts():
    *_, row = size_table("size", "Size", FILES).rows
    total, saved, most, *parts = [cell.text for cell in row.cells[2:10]]
    assert (total, saved, most) == ("2,500", "50.0 %", "56.0 %")
    assert parts == ["310", "2,000", "80", "10", "100"]
    assert sum(int(part.replace(",", "")) for part in parts) == 2500


@pytest.mark.parametrize("wanted", [0.4, 0.99])
def test_all_or_none_reach_what_is_wanted(wanted):
    (text,) = size_findings(FILES, wanted)
    assert ("not at" in text) == (wanted == 0.99)
    assert ("saves" in text.split(":")[0]) == (wanted == 0.4)
