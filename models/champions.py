"""Keep which model is in charge and which one challenges it: two pointers into a folder of model files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from models.bundle import ArtefactError, load_bundle, save_bundle

POINTERS = "pointers.json"
SCHEMA = 1
KEYS = {"schema", "champion", "challenger"}


class PromotionError(ArtefactError):
    """A pointer cannot be moved; the message names the model and the rule."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of the model in charge, as it is journalled. `previous` is "" where there was no champion."""

    champion: str
    previous: str
    because: str


class Champions:
    """A folder of model files named by their address, NAME.json, with the champion's and the challenger's.

    A pointer names only a file that loads and whose content has that address.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    @property
    def champion(self) -> str:
        """The address of the model in charge, "" without one. Raises PromotionError on broken pointers."""
        return self._read()["champion"]

    @property
    def challenger(self) -> str:
        """The address of the model that is being compared, "" without one. Raises PromotionError."""
        return self._read()["challenger"]

    def path(self, model_id: str) -> Path:
        """Return the file of a model."""
        return self._folder / f"{model_id}.json"

    def models(self) -> list[str]:
        """Return the addresses of the model files in the folder, sound or not."""
        return sorted(path.stem for path in self._folder.glob("*.json") if path.name != POINTERS)

    def challenge(self, file: str | Path) -> str:
        """Take a copy of a model file as the challenger and return its address.

        Raises ArtefactError on a corrupt, foreign or other-schema file, with nothing changed.
        """
        bundle, pointers = load_bundle(file), self._read()
        save_bundle(bundle, self.path(bundle.model_id))
        self._write(pointers | {"challenger": bundle.model_id})
        return bundle.model_id

    def promotion(self, because: str) -> Promotion:
        """Return what `carry_out` would do. Raises PromotionError without a challenger, a sound one, or a reason."""
        pointers = self._read()
        if not pointers["challenger"]:
            raise PromotionError(f"{self._folder.name}: there is no challenger to promote")
        if not because.strip():
            raise PromotionError("because: a promotion needs a reason")
        self._check(pointers["challenger"])
        return Promotion(pointers["challenger"], pointers["champion"], because)

    def carry_out(self, promotion: Promotion) -> None:
        """Put the promoted model in charge. Raises PromotionError unless it is in the folder and sound."""
        self._check(promotion.champion)
        self._write({"champion": promotion.champion, "challenger": ""})

    def _check(self, model_id: str) -> None:
        path = self.path(model_id)
        if not model_id.isalnum() or not path.is_file():
            raise PromotionError(f"{model_id}: no such model in {self._folder.name}")
        found = load_bundle(path).model_id
        if found != model_id:
            raise PromotionError(f"{path.name}: holds model {found}")

    def _read(self) -> dict[str, str]:
        path = self._folder / POINTERS
        if not path.is_file():
            return {"champion": "", "challenger": ""}
        try:
            pointers = json.loads(path.read_bytes())
        except ValueError:
            raise PromotionError(f"{POINTERS}: not a JSON file: corrupt or foreign") from None
        if not isinstance(pointers, dict) or set(pointers) != KEYS or pointers["schema"] != SCHEMA:
            raise PromotionError(f"{POINTERS}: must have exactly {', '.join(sorted(KEYS))} of schema {SCHEMA}")
        champion, challenger = pointers["champion"], pointers["challenger"]
        if not isinstance(champion, str) or not isinstance(challenger, str):
            raise PromotionError(f"{POINTERS}: champion and challenger must be text")
        return {"champion": champion, "challenger": challenger}

    def _write(self, pointers: dict[str, str]) -> None:
        path = self._folder / POINTERS
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_text(json.dumps({"schema": SCHEMA, **pointers}, sort_keys=True) + "\n", encoding="utf-8")
        unfinished.replace(path)
