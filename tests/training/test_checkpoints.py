"""Checkpoints: whole at any moment, in files of limited size."""

import json

import pytest
import torch

from pipeline.errors import InputError
from pipeline.training import checkpoints
from pipeline.training.checkpoints import STATE, delete_checkpoint, load_checkpoint, save_checkpoint


def tensors(value):
    return {"a": torch.full((3, 4), value), "b": torch.tensor(7), "c": torch.full((5,), value, dtype=torch.bfloat16)}


def same(found, expected):
    return found.keys() == expected.keys() and all(
        found[k].dtype == expected[k].dtype and torch.equal(found[k], expected[k]) for k in expected
    )


def test_what_is_loaded_is_what_was_saved_last(tmp_path):
    folder = tmp_path / "run"
    assert load_checkpoint(folder) is None
    for value in (1.0, 2.0, 3.0):
        save_checkpoint(folder, tensors(value), {"iteration": value})
        found = load_checkpoint(folder)
        assert found is not None and same(found[0], tensors(value)) and found[1] == {"iteration": value}
        assert len(list(folder.iterdir())) == 2  # none is left of the one before
    delete_checkpoint(folder)
    assert not folder.exists() and load_checkpoint(folder) is None


def test_files_are_small_enough_to_travel(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FILE_BYTES", 1000)
    large = {str(i): torch.full((100,), float(i)) for i in range(7)} | {"larger": torch.zeros(500)}
    save_checkpoint(tmp_path, large, {})
    sizes = sorted(sum(v.nbytes for v in torch_file.values()) for torch_file in map(load, parts(tmp_path)))
    assert sizes == [400, 800, 800, 800, 2000]
    found = load_checkpoint(tmp_path)
    assert found is not None and same(found[0], large)


@pytest.mark.parametrize("moment", range(4))
def test_a_writer_killed_at_any_moment_leaves_the_last_whole_one(tmp_path, monkeypatch, moment):
    """At the first file, the second, the state, and the removal of old files; then a rerun saves as ever."""
    monkeypatch.setattr(checkpoints, "FILE_BYTES", 60)
    save_checkpoint(tmp_path, tensors(1.0), {"iteration": 1})

    class Killed(BaseException):
        pass

    calls = 0

    def deadly(function):
        def call(*arguments):
            nonlocal calls
            calls += 1
            if calls > moment:
                raise Killed
            return function(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save", deadly(checkpoints.save))
        patched.setattr(checkpoints, "write_json", deadly(checkpoints.write_json))
        if moment == 3:
            patched.setattr(type(tmp_path), "glob", deadly(lambda *_: []))
        with pytest.raises(Killed):
            save_checkpoint(tmp_path, tensors(2.0), {"iteration": 2})
    found = load_checkpoint(tmp_path)
    expected = 1.0 if moment < 3 else 2.0
    assert found is not None and same(found[0], tensors(expected)) and found[1] == {"iteration": expected}
    save_checkpoint(tmp_path, tensors(3.0), {"iteration": 3})
    found = load_checkpoint(tmp_path)
    assert found is not None and same(found[0], tensors(3.0))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_broken_one_is_named(tmp_path):
    save_checkpoint(tmp_path, tensors(1.0), {})
    parts(tmp_path)[0].write_bytes(b"half")
    with pytest.raises(InputError, match="not a readable checkpoint; delete it"):
        load_checkpoint(tmp_path)
    parts(tmp_path)[0].unlink()
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)
    (tmp_path / STATE).write_text(json.dumps({"files": 3}))
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)


def parts(folder):
    return sorted(folder.glob("*.safetensors"))


def load(path):
    return checkpoints.load_file(path)
