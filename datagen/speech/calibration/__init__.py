"""What "high" means: distributions fitted on a corpus once, and read off for each clip. Pure functions.

``fit`` makes a JSON-able artifact from measured columns; ``apply`` turns the columns of one clip after another into
ranks, words and arousal, from that artifact alone; ``drift`` compares later clips with it. Neither depends on the
order of rows. Definitions and reasons: ``docs/prosody.md``.

A group is named by a JSON list, ``["ravdess","female"]``, with null for "any": ``[null,null]`` is the whole run. Each
holds ``n`` and, when ``n`` reaches ``min_group``, its quantiles; smaller groups are recorded without, and their clips
are read off the next wider group.

Each module uses those before it only: ``settings``, ``columns``, ``groups``, ``robust``, ``baselines``, ``fusion``, and
on these ``fitting``, ``ranks`` and ``stability`` side by side.
"""

from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.fitting import QUANTILES, fit
from datagen.speech.calibration.groups import key
from datagen.speech.calibration.ranks import apply, percentile
from datagen.speech.calibration.settings import (
    AFFECTS,
    DEAD_ZONES,
    FEATURES,
    GIVEN,
    LABELS,
    MEASURED,
    VERSION,
    Settings,
)
from datagen.speech.calibration.stability import LEAST_FOR_DRIFT, compare, drift

__all__ = [
    "AFFECTS",
    "DEAD_ZONES",
    "FEATURES",
    "GIVEN",
    "LABELS",
    "LEAST_FOR_DRIFT",
    "MEASURED",
    "QUANTILES",
    "VERSION",
    "Columns",
    "Settings",
    "apply",
    "compare",
    "drift",
    "fit",
    "key",
    "percentile",
]
