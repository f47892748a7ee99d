"""Names to stage classes, imported only when asked for. Third parties join through entry points."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points

from datagen.errors import UsageError
from datagen.stage import Stage

#: Built-in stages in the order data flows; the order also breaks ties in the plan.
BUILTIN = {
    "ingest": "datagen.stages.ingest:Ingest",
    "diarize": "datagen.stages.diarize:Diarize",
    "segment": "datagen.stages.segment:Segment",
    "transcribe": "datagen.stages.transcribe:Transcribe",
    "emotion": "datagen.stages.emotion:Emotion",
    "prosody": "datagen.stages.prosody:Prosody",
    "affect": "datagen.stages.affect:Affect",
    "age_gender": "datagen.stages.age_gender:AgeGender",
    "events": "datagen.stages.events:Events",
    "calibrate": "datagen.stages.calibrate:Calibrate",
    "describe": "datagen.stages.describe:Describe",
    "agreement": "datagen.stages.agreement:Agreement",
    "fingerprint": "datagen.stages.fingerprint:Fingerprint",
    "embed": "datagen.stages.embed:Embed",
    "text_emotion": "datagen.stages.text_emotion:TextEmotion",
    "neighbours": "datagen.stages.neighbours.stage:Neighbours",
    "condense": "datagen.stages.condense:Condense",
    "split": "datagen.stages.split:Split",
    "scenario": "datagen.stages.scenario:Scenario",
    "write": "datagen.stages.write:Write",
    "verify": "datagen.stages.verify:Verify",
    "blind": "datagen.stages.blind:Blind",
    "judge": "datagen.stages.judge:Judge",
    "route": "datagen.stages.route:Route",
    "quality": "datagen.stages.quality:Quality",
    "export": "datagen.stages.export:Export",
}


@cache
def _third_party() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="datagen.stages")}


def stage_names() -> list[str]:
    return [*BUILTIN, *(name for name in _third_party() if name not in BUILTIN)]


def stage_class(name: str) -> type[Stage]:
    """The class registered under ``name``.

    Raises:
        UsageError: no such stage, or its module cannot be imported.
    """
    target = BUILTIN.get(name) or _third_party().get(name)
    if target is None:
        raise UsageError(f"unknown stage '{name}'{did_you_mean(name, stage_names())}")
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"stage '{name}' ({target}) cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Stage)):
        raise UsageError(f"stage '{name}': {target} is not a datagen.stage.Stage")
    return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` - did you mean 'x'?`` or the list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    if close:
        return f" - did you mean '{close[0]}'?"
    return f" - there are: {', '.join(known)}" if known else ""
