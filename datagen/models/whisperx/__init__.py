"""WhisperX: what is said, in which language, and how sure Whisper is of it; for many clips at once.

``vad`` finds the stretches that Whisper hears, ``windows`` turns them into its mel spectrograms, ``recogniser`` packs
those of many clips into one batch. Word times come from ``datagen.models.aligner``.
"""

from datagen.models.whisperx.recogniser import Heard, Recognised, WhisperX, lacking

__all__ = ["Heard", "Recognised", "WhisperX", "lacking"]
