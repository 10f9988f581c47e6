"""Save trained models as content-addressed files and load nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import KnownFault
from models.baselines import EwmaFhs, HistoricalSimulation
from models.features import FEATURES
from models.forecaster import TAUS
from models.linear import Head, LinearForecaster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.forecaster import Forecaster

FORMAT = "keeper-linear-model"
SCHEMA = 1
DEFAULT = Path(__file__).parent / "artefacts" / "default.json"
BASELINES = {model.model_id: model for model in (EwmaFhs, HistoricalSimulation)}


class ArtefactError(KnownFault):
    """A model file cannot be used; the message names the file and the rule."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A trained linear model with its card: what it was trained on and what it scored out of sample."""

    heads: tuple[Head, ...]
    card: Mapping[str, Any]

    @property
    def model_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the content."""
        return _address(self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "features": list(FEATURES),
            "taus": list(TAUS),
            "heads": [asdict(head) for head in self.heads],
            "card": dict(self.card),
        }

    def to_json(self) -> str:
        """Return the file's text: canonical JSON of the content with its address."""
        return _canonical(self._content() | {"model_id": self.model_id})


def save(artefact: Artefact, path: str | Path) -> None:
    """Write the artefact to a file, replacing it in one step."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(artefact.to_json() + "\n", encoding="utf-8")
    unfinished.replace(path)


def load(path: str | Path) -> Artefact:
    """Read an artefact. Raises ArtefactError on a missing, foreign, other-schema or corrupt file."""
    path = Path(path)
    content = _read(path)
    if content.get("format") != FORMAT:
        raise ArtefactError(f"{path.name}: format is not {FORMAT}: not a model of this keeper")
    if content.get("schema") != SCHEMA:
        raise ArtefactError(f"{path.name}: schema {content.get('schema')!r}: this version reads {SCHEMA}")
    stated = content.pop("model_id", None)
    if stated != _address(content):
        raise ArtefactError(f"{path.name}: model_id {stated!r} is not the hash of the content: corrupt")
    if content.get("features") != list(FEATURES) or content.get("taus") != list(TAUS):
        raise ArtefactError(f"{path.name}: features or taus are not those of this version")
    return Artefact(_heads(path, content.get("heads")), _card(path, content.get("card")))


def load_forecaster(model: str | Path) -> Forecaster:
    """Return a forecaster with no stream yet: a baseline's name, "default", or the path of an artefact.

    Raises ArtefactError.
    """
    if model in BASELINES:
        return BASELINES[str(model)]()
    path = DEFAULT if model == "default" else Path(model)
    if not path.is_file():
        known = ", ".join((*BASELINES, "default"))
        raise ArtefactError(f"{model}: no such model; give one of {known} or the path of a model file")
    artefact = load(path)
    return LinearForecaster(artefact.model_id, artefact.heads)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise ArtefactError(f"{path.name}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ArtefactError(f"{path.name}: not a JSON file: corrupt or foreign") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path.name}: not a JSON object: not a model of this keeper")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _heads(path: Path, items: Any) -> tuple[Head, ...]:
    names = {item.name for item in fields(Head)}
    if not isinstance(items, list) or not items:
        raise ArtefactError(f"{path.name}: heads: must be a list with at least one")
    heads = []
    for place, item in enumerate(items):
        if not isinstance(item, dict) or set(item) != names:
            raise ArtefactError(f"{path.name}: heads[{place}]: must have exactly {', '.join(sorted(names))}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
        }
        head = Head(**values)
        _check_head(path, place, head)
        heads.append(head)
    return tuple(heads)


def _check_head(path: Path, place: int, head: Head) -> None:
    """Raise ArtefactError on figures that no training makes, so that a forged file cannot yield a forecast."""
    where = f"{path.name}: heads[{place}]"
    per_feature = (head.weights, head.means, head.sds)
    if any(not isinstance(values, tuple) or len(values) != len(FEATURES) for values in per_feature):
        raise ArtefactError(f"{where}: weights, means and sds must have {len(FEATURES)} figures each")
    if not isinstance(head.quantiles, tuple) or len(head.quantiles) != len(TAUS):
        raise ArtefactError(f"{where}: quantiles must have {len(TAUS)} figures")
    figures = (*head.weights, *head.means, *head.sds, *head.quantiles, head.es_lower, head.es_upper)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in figures):
        raise ArtefactError(f"{where}: every figure must be a finite number")
    if min(head.sds) <= 0:
        raise ArtefactError(f"{where}: sds must be above 0")
    lower, upper = head.quantiles[:3], head.quantiles[3:]
    if list(head.quantiles) != sorted(head.quantiles) or max(lower) >= 0 or min(upper) <= 0:
        raise ArtefactError(f"{where}: quantiles must ascend, three below 0 and three above")
    if head.es_lower > lower[-1] or head.es_upper < upper[0]:
        raise ArtefactError(f"{where}: expected shortfall must lie beyond the 1 % and 99 % quantiles")
    if not isinstance(head.horizon, int) or head.horizon < 1 or not isinstance(head.daily_bars, bool):
        raise ArtefactError(f"{where}: horizon must be whole seconds and daily_bars true or false")


def _card(path: Path, card: Any) -> dict[str, Any]:
    if not isinstance(card, dict):
        raise ArtefactError(f"{path.name}: card: must be an object")
    return card


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _address(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()[:16]
