"""Name the forecasters there are: baselines, the shipped model, and model files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from models.baselines import FILTERS, FilteredForecaster
from models.bundle import ArtefactError, load_bundle
from models.champions import Champions
from models.ensemble import EnsembleForecaster
from models.garch import GARCH_KINDS, GarchForecaster

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.forecaster import Forecaster

DEFAULT = Path(__file__).parent / "artefacts" / "default.json"
BASELINES: dict[str, Callable[[], Forecaster]] = {
    **{kind.name: partial(FilteredForecaster, kind) for kind in FILTERS},
    **{kind.name: partial(GarchForecaster, kind) for kind in GARCH_KINDS},
}


def load_forecaster(model: str | Path) -> Forecaster:
    """Return a forecaster with no stream yet: a baseline's name, "default", a model file, or a folder's champion.

    Raises ArtefactError.
    """
    if model in BASELINES:
        return BASELINES[str(model)]()
    path = DEFAULT if model == "default" else Path(model)
    if path.is_dir():
        champions = Champions(path)
        if not champions.champion:
            raise ArtefactError(f"{path.name}: has no champion: see `keeper model promote`")
        path = champions.path(champions.champion)
    if not path.is_file():
        known = ", ".join((*BASELINES, "default"))
        raise ArtefactError(f"{model}: no such model; give one of {known} or the path of a model file")
    bundle = load_bundle(path)
    return EnsembleForecaster(bundle.model_id, bundle.members, bundle.implied)
