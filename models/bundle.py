"""Save an ensemble with its card as a content-addressed file, and refuse what is not one."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import KnownFault
from models.forecaster import TAUS
from models.inputs import INPUTS
from models.members import BoostedTrees, Layer, LogLinear, Network, Shape, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.members import Member

FORMAT = "keeper-ensemble-model"
SCHEMA = 2
LARGEST_FILE = 50_000_000
"""Bytes."""

KINDS: dict[str, type[LogLinear | BoostedTrees | Network]] = {
    "log-linear": LogLinear,
    "boosted-trees": BoostedTrees,
    "network": Network,
}


class ArtefactError(KnownFault):
    """A model file cannot be used; the message names the file and the rule."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained ensemble with its card: what it was trained on and what it scored out of sample.

    `implied` are the members for implied volatility, none where there was nothing to train them on.
    """

    members: tuple[Member, ...]
    card: Mapping[str, Any]
    implied: tuple[Member, ...] = ()

    @property
    def model_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the content."""
        return _address(self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "inputs": list(INPUTS),
            "taus": list(TAUS),
            "members": _items(self.members),
            "implied": _items(self.implied),
            "card": dict(self.card),
        }

    def to_json(self) -> str:
        """Return the file's text: canonical JSON of the content with its address."""
        return _canonical(self._content() | {"model_id": self.model_id})


def save_bundle(bundle: Bundle, path: str | Path) -> None:
    """Write the bundle to a file, replacing it in one step."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(bundle.to_json() + "\n", encoding="utf-8")
    unfinished.replace(path)


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle. Raises ArtefactError on a missing, foreign, other-schema or corrupt file."""
    path = Path(path)
    content = _read(path)
    if content.get("format") != FORMAT:
        raise ArtefactError(f"{path.name}: format is not {FORMAT}: not an ensemble of this keeper")
    if content.get("schema") != SCHEMA:
        raise ArtefactError(f"{path.name}: schema {content.get('schema')!r}: this version reads {SCHEMA}")
    stated = content.pop("model_id", None)
    if stated != _address(content):
        raise ArtefactError(f"{path.name}: model_id {stated!r} is not the hash of the content: corrupt")
    if content.get("inputs") != list(INPUTS) or content.get("taus") != list(TAUS):
        raise ArtefactError(f"{path.name}: inputs or taus are not those of this version")
    card = content.get("card")
    if not isinstance(card, dict):
        raise ArtefactError(f"{path.name}: card: must be an object")
    members, implied = (_members(path, name, content.get(name)) for name in ("members", "implied"))
    if not members:
        raise ArtefactError(f"{path.name}: members: must be a list with at least one")
    return Bundle(members, card, implied)


def _items(members: tuple[Member, ...]) -> list[dict[str, Any]]:
    names = {kind: name for name, kind in KINDS.items()}
    return [{"kind": names[type(member)], **asdict(member)} for member in members]  # type: ignore[index, call-overload]


def _members(path: Path, name: str, items: Any) -> tuple[Member, ...]:
    if not isinstance(items, list):
        raise ArtefactError(f"{path.name}: {name}: must be a list")
    return tuple(_member(f"{path.name}: {name}[{place}]", item) for place, item in enumerate(items))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ArtefactError(f"{path.name}: larger than {LARGEST_FILE} bytes")
        content = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise ArtefactError(f"{path.name}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ArtefactError(f"{path.name}: not a JSON file: corrupt or foreign") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path.name}: not a JSON object: not a model of this keeper")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _member(where: str, item: Any) -> Member:
    kind = KINDS.get(str(item.get("kind"))) if isinstance(item, dict) else None
    if kind is None:
        raise ArtefactError(f"{where}: kind must be one of {', '.join(KINDS)}")
    values = {key: value for key, value in item.items() if key != "kind"}
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        raise ArtefactError(f"{where}: must have exactly {', '.join(sorted(names))}")
    try:
        return _checked(kind, values)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ArtefactError(f"{where}: {error}") from None


def _checked(kind: type[Any], values: dict[str, Any]) -> Member:
    """Build a member; raise ValueError on figures no training makes, so that a forged file cannot forecast."""
    daily_bars, serves = _flag(values["daily_bars"]), _whole(values["serves"])
    (weight,) = _figures([values["weight"]], 1)
    if weight <= 0:
        raise ValueError("weight must be above 0")
    if kind is BoostedTrees:
        trees = tuple(_tree(tree) for tree in values["trees"])
        return BoostedTrees(daily_bars, serves, trees, _shape(values["shape"]), weight)
    means, sds = _figures(values["means"], len(INPUTS)), _figures(values["sds"], len(INPUTS))
    if min(sds) <= 0:
        raise ValueError("sds must be above 0")
    if kind is LogLinear:
        weights = _figures(values["weights"], len(INPUTS))
        return LogLinear(daily_bars, serves, means, sds, weights, _shape(values["shape"]), weight)
    horizons = _whole(values["horizons"])
    shapes = tuple(_shape(shape) for shape in values["shapes"])
    if not set(serves) <= set(horizons) or len(shapes) != len(horizons):
        raise ValueError("horizons must include all it serves and have a shape each")
    layers = _layers(values["layers"], len(INPUTS) + len(horizons))
    return Network(daily_bars, serves, horizons, means, sds, layers, shapes, weight)


def _layers(items: Any, inputs: int) -> tuple[Layer, ...]:
    layers = []
    for item in items:
        weights = tuple(_figures(row, inputs) for row in item["weights"])
        layers.append(Layer(weights, _figures(item["biases"], len(weights))))
        inputs = len(weights)
    if len(layers) < 2 or inputs != 3:
        raise ValueError("layers must be two or more, the last with three outputs")
    return tuple(layers)


def _tree(item: Any) -> Tree:
    size = len(item["feature"])
    feature, left, right = (_nodes(item[key], size) for key in ("feature", "left", "right"))
    tree = Tree(feature, _figures(item["threshold"], size), left, right, _figures(item["value"], size))
    for node, name in enumerate(feature):
        # Children stand after their parent, so that every walk ends.
        inner = name < len(INPUTS) and node < left[node] < size and node < right[node] < size
        if size == 0 or not (name == -1 or (name >= 0 and inner)):
            raise ValueError(f"tree node {node}: must be a leaf or split an input into two later nodes")
    return tree


def _shape(item: Any) -> Shape:
    quantiles = _figures(item["quantiles"], len(TAUS))
    lower, upper = _figures([item["es_lower"], item["es_upper"]], 2)
    ascending = (lower, quantiles[2], quantiles[3], upper)
    if list(quantiles) != sorted(quantiles) or quantiles[2] >= 0 or quantiles[3] <= 0:
        raise ValueError("quantiles must ascend, three below 0 and three above")
    if list(ascending) != sorted(ascending):
        raise ValueError("expected shortfall must lie beyond the 1 % and 99 % quantiles")
    return Shape(quantiles, lower, upper)


def _figures(values: Any, size: int) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != size:
        raise ValueError(f"must be a list of {size} figures")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise ValueError("every figure must be a finite number")
    return tuple(float(value) for value in values)


def _nodes(values: Any, size: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) != size or not all(type(value) is int for value in values):
        raise ValueError(f"must be a list of {size} whole numbers")
    return tuple(values)


def _whole(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not values or not all(type(value) is int and value > 0 for value in values):
        raise ValueError("horizons must be whole seconds above 0")
    return tuple(values)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("daily_bars must be true or false")
    return value


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _address(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()[:16]
