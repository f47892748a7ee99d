"""Settings of ``transcribe``: of all its backends, in one flat list, as a recipe has them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from datagen.models import device
from datagen.models.whisperx.vad import Method
from datagen.speech.hallucination import Limits


class TranscribeConfig(device.ModelConfig):
    """The defaults of the embedded backends are measured; see ``docs/transcription.md``."""

    #: Where aligners lie is no part of a key; what is in them is.
    non_semantic: ClassVar[frozenset[str]] = device.ModelConfig.non_semantic | {"aligners"}

    backend: Literal["auto", "reference", "pocketsphinx", "whisperx"] = "auto"
    align: bool = Field(True, description="find the word times of texts that come without")
    min_fit: float = Field(0.02, ge=0, le=1, description="a reference text that fits the sound less gets no word times")
    min_agreement: float = Field(
        0.7, ge=0, le=1, description="share of words heard in place, below which a clip gets no part of a longer text"
    )
    min_words: int = Field(3, ge=1, description="fewer words, recognised or found in a longer text, prove nothing")
    min_confidence: float = Field(0.6, ge=0, le=1, description="English recognised with less is null")
    min_confidence_unknown: float = Field(
        0.7, ge=0, le=1, description="the same where the language is unknown: the rest is not confidently English"
    )
    # What follows is whisperx's.
    batch_seconds: float = Field(
        480.0, gt=0, description="of audio per model batch; Whisper takes 30 for every stretch"
    )
    prefer_reference: bool = Field(True, description="a clip with the corpus's text keeps it, and is not recognised")
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = Field(
        (), description="ISO 639-1; one = every clip's, several = told apart, none = any that Whisper knows"
    )
    vad: Method = Field("pyannote", description="who finds the speech; none = Whisper hears the clip as it is")
    beam_size: int = Field(5, ge=1, description="1 = greedy")
    compute_type: str = Field("default", description="of CTranslate2; default = float16 on a GPU, float32 on a CPU")
    max_tokens_per_second: float | None = Field(
        None, gt=0, description="None = Whisper's own 224 in 30 s; below 10, some languages are cut"
    )
    limits: Limits = Field(Limits(), description="from where on a text is flagged as perhaps invented")
    hallucination: Literal["flag", "drop"] = Field("flag", description="drop = clips with a flag leave the run")
    aligners: dict[str, str] = Field(
        default_factory=dict,
        description="language -> name in `datagen models list`, or a folder; others stay as built in",
    )

    def idle(self) -> frozenset[str]:
        return _EMBEDDED if self.backend == "whisperx" else _WHISPERX


#: Settings that only the embedded backends, or only whisperx, look at; those of the others are no part of a key.
_EMBEDDED = frozenset({"min_fit", "min_confidence", "min_confidence_unknown"})
_WHISPERX = frozenset({
    "prefer_reference", "languages", "vad", "beam_size", "compute_type", "max_tokens_per_second", "limits",
    "hallucination",
})  # fmt: skip
