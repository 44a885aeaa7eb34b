"""What the evaluating stages write: mean scores, scores of each image, and some SR images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from PIL import Image as Pillow

from pipeline.data.prepared import PreparedSet
from pipeline.evaluation import Image, evaluate, means
from pipeline.files import atomic, write_csv, write_json
from pipeline.runs import prepared_folder


def write_scores(
    method: str, set_name: str, scale: int, backends: Mapping[str, Callable[[Image], Image]], kept: int
) -> None:
    """Evaluate a method's backends on a set and write results/evaluate/<set>/<method>.json and .csv.

    The first `kept` SR images go to results/images/<set>/<method>/; those of the int8 engine to <method>/engine_int8/.
    """
    images = PreparedSet.open(prepared_folder(set_name))
    summary, rows = {}, []
    for backend, upscale in backends.items():
        place = f"{method}/{backend}" if backend == "engine_int8" else method
        keeps = backend == "engine_int8" or not backend.startswith("engine_")  # others show what those show

        def keep(index: int, sr: Image, place: str = place, keeps: bool = keeps) -> None:
            if keeps and index < kept:
                keep_image(set_name, place, images.names[index], sr)

        scores = evaluate(upscale, images, scale, keep)
        summary[backend] = means(scores)
        rows += [{"backend": backend, **asdict(score)} for score in scores]
    folder = Path("results", "evaluate", set_name)
    write_csv(folder / f"{method}.csv", rows)
    write_json(folder / f"{method}.json", summary)


def keep_image(set_name: str, folder: str, name: str, image: Image) -> None:
    """Write results/images/<set>/<folder>/<name>.png."""
    with atomic(Path("results", "images", set_name, folder, f"{name}.png")) as temporary:
        Pillow.fromarray(image).save(temporary, format="png")
