"""Every Arrow schema and column name, in one place (law 4: no schema inference anywhere).

A run holds five tables; a stage adds columns to one of them or creates the rows of the next:

``sources -> recordings (+ annotations) -> clips -> samples``, and ``rejects`` beside them all.

``sources`` is the ledger's own view of the input, made by ingest's readers before anything is decoded.
A column name means one thing everywhere. Times in ``annotations`` and ``clips`` are seconds relative to the
recording; word times, evidence and everything a trainee sees are relative to the clip.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

# --- Vocabularies -------------------------------------------------------------------------------------------

#: Canonical categorical emotions: emotion2vec's nine names, in its order, without ``<unk>`` (null here).
EMOTIONS = ("angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised")
#: Three classes derived from an emotion (see ``quality/emotions.py``).
SENTIMENTS = ("negative", "neutral", "positive")
#: Calibrated words; never a number of the corpus, always relative to it.
LEVELS = ("low", "normal", "high")
TASKS = ("classification", "qa", "reasoning", "response", "caption")
MODES = ("explicit", "implicit")
QUESTION_TYPES = ("content", "emotion", "voice", "content+emotion", "content+voice")
LABEL_SOURCES = ("gold", "pseudo", "requested")
ROUTES = ("sft", "rl", "drop")
#: ``holdout``: corpora that are never trained on, apart from ``test``, which is of the training corpora's kind.
SPLITS = ("train", "validation", "test", "holdout")

#: Sampling rate of every audio column, in Hz.
SAMPLE_RATE = 16_000

# --- Row status ---------------------------------------------------------------------------------------------

STATUS = "_status"  #: one of STATUSES; in every column file, for every row of the shard
REASON = "_reason"  #: why a row was dropped or skipped, or the error class of its reject; null when ok
OK, REJECTED, DROPPED, SKIPPED = STATUSES = ("ok", "rejected", "dropped", "skipped")
STATUS_FIELDS = (pa.field(STATUS, pa.string(), nullable=False), pa.field(REASON, pa.string()))

#: Tables in the order rows are made; the id column names a row, the parent's id joins it to its parent.
ID = {"sources": "recording_id", "recordings": "recording_id", "clips": "clip_id", "samples": "sample_id"}
PARENT = {"recordings": "sources", "clips": "recordings", "samples": "clips"}

_S, _F, _I, _B = pa.string(), pa.float64(), pa.int64(), pa.bool_()


def _heavy(name: str, kind: pa.DataType) -> pa.Field:
    """A column in a file of its own: nobody reads it who does not declare it."""
    return pa.field(name, kind, metadata={"storage": "own-file"})


def is_heavy(field: pa.Field) -> bool:
    return bool(field.metadata and field.metadata.get(b"storage") == b"own-file")


#: ``flag``: null = laid over the sound letter by letter; "wildcard" = signs the aligner does not know (digits, symbols)
#: took whatever sounded there; "interpolated" = the times are its neighbours'; "unaligned" = there are none.
WORD = pa.struct([("word", _S), ("start", _F), ("end", _F), ("score", _F), ("flag", _S)])
SCORE = pa.struct([("label", _S), ("score", _F)])
EVENT = pa.struct([("event", _S), ("start", _F), ("end", _F), ("score", _F)])
#: A stretch of a clip and what was heard in it.
SPAN_SCORE = pa.struct([("start", _F), ("end", _F), ("label", _S), ("score", _F)])
EVIDENCE = pa.struct([("field", _S), ("value", _S), ("quote", _S)])
#: One of several answers to a prompt; ``finding``: error class of what the checks found first, null = sound.
CANDIDATE = pa.struct([("reasoning", _S), ("answer", _S), ("response", _S), ("response_style", _S), ("finding", _S)])
#: One thing somebody says about a stretch of a recording. ``channel``/``start``/``end`` null = all of it.
ANNOTATION = pa.struct(
    [("channel", pa.int32()), ("start", _F), ("end", _F), ("field", _S), ("value", _S), ("source", _S)]
)
#: A label that reached a clip from annotations; ``value`` null with a ``reason`` when it was ambiguous.
LABEL = pa.struct([("field", _S), ("value", _S), ("source", _S), ("reason", _S)])

#: Annotation fields the pipeline understands; others are kept and ignored.
ANNOTATION_FIELDS = (
    "transcript", "words", "emotion", "speaker", "sex", "age_years", "language", "style", "intensity",
    "arousal", "dominance", "valence", "event", "overlap",
)  # fmt: skip

# --- Tables as they are created -----------------------------------------------------------------------------

SOURCES = pa.schema(
    [
        ("recording_id", _S),
        ("corpus", _S),
        ("source_uri", _S),  # relative to the input root, POSIX; a tar member is "shard.tar::member.wav"
        ("fingerprint", _S),  # size + mtime or etag: says whether a file has to be looked at again
        ("size_bytes", _I),
        ("seconds_hint", _F),  # for sizing shards and predicting work only; may be wrong
        ("licence", _S),  # SPDX-like id of the corpus; null = unknown = nothing is permitted
        ("official_split", _S),
        ("metadata", _S),  # the corpus's own columns, canonical JSON
        ("annotations", pa.list_(ANNOTATION)),
        ("locator", _S),  # where in its container: "<offset>+<bytes>" of a tar member, a row number; null = a file
    ]
)

RECORDINGS = pa.schema(
    [
        ("recording_id", _S),
        ("corpus", _S),
        ("source_uri", _S),
        ("content_hash", _S),  # blake2b-128 of the file's bytes
        ("container", _S),  # as decoded, e.g. "WAV/PCM_16", "mov,mp4,m4a/aac"
        ("source_rate_hz", _I),
        ("source_channels", _I),
        ("duration", _F),  # seconds as decoded, never as announced
        ("licence", _S),
        ("official_split", _S),
        ("metadata", _S),
        _heavy("audio", pa.large_binary()),  # FLAC, 16 kHz; one channel (mix) or all of them (split)
    ]
)

ANNOTATIONS = pa.schema([("recording_id", _S), *ANNOTATION])

CLIPS = pa.schema(
    [
        ("clip_id", _S),
        ("recording_id", _S),
        ("corpus", _S),
        ("channel", pa.int32()),
        ("start", _F),
        ("end", _F),
        ("duration", _F),
        ("speaker", _S),  # "<corpus>/<name>"; null = unknown
        ("sex", _S),  # "female" | "male" | null
        ("age_years", _F),
        ("speech_lang", _S),  # ISO 639-1 as given; null = unknown
        ("style", _S),
        ("licence", _S),
        ("official_split", _S),
        ("labels", pa.list_(LABEL)),  # what the corpus says about this stretch
        ("level_dbfs", _F),  # RMS over speech, dB relative to full scale
        ("clipping_ratio", _F),  # share of samples at full scale
        ("snr_db", _F),  # speech level over the level of the pauses; null without pauses
        ("audio_hash", _S),  # blake2b-128 of the 16-bit samples: equal = the very same sound
        _heavy("audio", pa.large_binary()),  # FLAC, 16 kHz, mono
    ]
)

# --- Columns that stages add to clips -----------------------------------------------------------------------

TRANSCRIBE = pa.schema(
    [
        ("transcript", _S),
        ("words", pa.list_(WORD)),  # clip-relative seconds; null when no aligner knows the language
        ("text_lang", _S),
        ("asr_confidence", _F),  # 0..1; 1.0 for a reference text, null when unknown
        ("transcript_source", pa.string()),  # "gold" | "pseudo"
        ("transcript_reason", _S),  # why transcript or words are null
        # What a recogniser says about its own text; all null for a reference text.
        ("text_lang_score", _F),  # probability of text_lang where it was detected, else null
        ("asr_avg_logprob", _F),  # mean log-probability per token, weighted over segments by their tokens
        ("asr_no_speech", _F),  # 0..1, probability that nobody speaks; the largest of the segments
        ("asr_compression", _F),  # length of the text over its zlib-compressed length: high = it repeats itself
        ("asr_flags", pa.list_(_S)),  # signs of an invented text, see speech/hallucination.py; empty = none
    ]
)
EMOTION = pa.schema(
    [
        ("emotion", _S),  # one of EMOTIONS or null
        ("emotion_raw", _S),  # the label as the corpus or the model spelt it
        ("emotion_scores", pa.list_(SCORE)),
        ("emotion_margin", _F),  # best score minus second best
        ("emotion_entropy", _F),  # of the scores, in nats: 0 = sure, ln(number of labels) = no idea
        ("emotion_predicted", _S),  # the model's own first choice, also where ``emotion`` is the corpus's label
        ("emotion_timeline", pa.list_(SPAN_SCORE)),  # first choice per window; null for clips of one window
        ("label_source", _S),  # one of LABEL_SOURCES; null with a null emotion
        ("sentiment", _S),
        _heavy("emotion_embedding", pa.list_(pa.float32())),  # utterance vector of the model, if asked for
    ]
)
AGE_GENDER = pa.schema(
    [
        ("age_predicted", _F),  # years
        ("sex_predicted", _S),  # "female" | "male"; null for a child's voice or an unsure one
        ("sex_scores", pa.list_(SCORE)),  # female, male, child
    ]
)
#: Raw outputs of an affect backend; ``describe`` turns them into arousal/dominance/valence.
AFFECT = pa.schema(
    [
        ("arousal_raw", _F),
        ("dominance_raw", _F),
        ("valence_raw", _F),
        # Cues of rule-based arousal (Bone, Lee & Narayanan 2014); null for model backends.
        ("arousal_cues", pa.struct([("log_f0", _F), ("intensity_db", _F), ("hf500_db", _F)])),
    ]
)
PROSODY = pa.schema(
    [
        ("f0_median_hz", _F),
        ("f0_range_st", _F),  # 5th to 95th percentile, semitones
        ("voiced_ratio", _F),
        ("rate_syl_s", _F),  # syllables per second of speech, pauses left out
        ("rate_source", _S),  # "words" | "nuclei"
        ("pause_ratio", _F),  # share of the clip that is silence between first and last speech
        ("longest_pause_s", _F),
        ("prosody_reason", _S),  # why a value is null
        _heavy("f0_track", pa.list_(pa.float32())),  # Hz in each frame of 10 ms, 0 = unvoiced; the tracker runs once
    ]
)
EVENTS = pa.schema([("events", pa.list_(EVENT))])
DESCRIBE = pa.schema(
    [
        ("arousal", _F),  # 0..1
        ("dominance", _F),
        ("valence", _F),
        ("arousal_pct", _F),  # 0..1, rank within the corpus at calibration
        ("dominance_pct", _F),
        ("valence_pct", _F),
        ("f0_pct", _F),
        ("f0_range_pct", _F),
        ("level_pct", _F),
        ("rate_pct", _F),
        ("pause_pct", _F),
        ("arousal_level", _S),  # each one of LEVELS, null when the value is null or unreliable
        ("dominance_level", _S),
        ("valence_level", _S),
        ("pitch_level", _S),
        ("pitch_range_level", _S),
        ("loudness_level", _S),
        ("rate_level", _S),
        ("pause_level", _S),
        ("sex_heard", _S),  # where the corpus gives no sex: what the speaker's clips together sound like
    ]
)
#: Do the annotators bear each other out? See ``quality/agreement.py``.
AGREEMENT = pa.schema(
    [
        ("affect_agreement", _S),  # "agree" | "conflict" | null: does the category fit arousal and valence
        ("affect_agreement_score", _F),  # -1..1
        ("gold_agreement", _B),  # the corpus's label is the model's first choice; null without either
    ]
)
EMBED = pa.schema(
    [
        _heavy("text_embedding", pa.list_(pa.float32())),
        ("text_key", _S),  # "<language>|<normalised text>": equal keys are the same words
        ("word_count", _I),  # words of the text as normalised; 0 = nobody says a word; null without a transcript
        ("word_coverage", _F),  # 0..1, share of the words that have a start and an end
    ]
)
#: What the words alone would make one think, never the voice. See ``quality/cues.py`` for ``cue_relation``.
TEXT_EMOTION = pa.schema(
    [
        ("text_emotion", _S),  # one of EMOTIONS or null (a backend that tells only sentiments)
        ("text_sentiment", _S),  # one of SENTIMENTS or null
        ("text_emotion_score", _F),  # 0..1, how sure of the first of these that is there
    ]
)
#: Two 32-bit words per 10 ms, see ``quality/fingerprint.py``; null when nothing sounds.
FINGERPRINT = pa.schema([_heavy("audio_fingerprint", pa.binary())])
#: Who is near whom, as groups round a leader: every member was compared with the leader itself, so nothing is joined
#: through a chain of others.
NEIGHBOURS = pa.schema(
    [
        ("text_cluster", _S),  # ``quality.texts.text_id`` of the leading text; null without words
        ("sound_group", _S),  # clip_id of the leading recording of the same sound; null when there is no other
        ("voice_cluster", _S),  # clip_id of the leading take of these words by this speaker; null without embeddings
    ]
)
CONDENSE = pa.schema(
    [
        ("dup_of", _S),  # clip_id of the kept copy
        ("dup_why", _S),  # why that one was kept: the first of ``quality.ranking.RANKING`` in which it is better
        ("drop_reason", _S),
        ("contrast_group_id", _S),  # same words, at least two ways of saying them
        ("contrast_type", _S),
        ("contrast_emotions", pa.list_(_S)),  # the emotions met in the group, sorted
        ("cue_relation", _S),  # neutral_text | matched | conflict | nonverbal; null without a text emotion
        ("richness", _F),  # 0..1, how much the voice tells; see ``quality/richness.py``
        # Its parts, each 0..1 or null where nothing was measured.
        ("richness_parts", pa.struct([("intensity", _F), ("deviation", _F), ("range", _F), ("conflict", _F)])),
        ("stratum", _S),
        ("sampling_weight", _F),
    ]
)
SPLIT = pa.schema([("split", _S)])
#: For a contrast group: a situation in which the same words, said otherwise, call for another reply. The same for all
#: clips of the group; null outside groups, and where a verdict was too low (``scenario_reason`` says which).
SCENARIO = pa.schema(
    [
        ("scenario", _S),
        ("contrast_question", _S),  # one whose right answer differs from voice to voice
        ("scenario_plausible", _F),  # 1..5, mean of the verdicts: would somebody say these words there
        ("scenario_relevant", _F),  # 1..5, does the way of saying them change what a good reply is
        ("text_neutral", _F),  # 1..5, do the words alone leave the way of saying them open
        ("scenario_reason", _S),  # why there is none
        # Queries that nobody has spoken yet, for a speech synthesiser: never exported to a trainer.
        ("synthesis_requests", pa.list_(pa.struct([("query", _S), ("emotion", _S), ("scenario", _S)]))),
    ]
)

# --- Samples ------------------------------------------------------------------------------------------------

SAMPLES = pa.schema(
    [
        ("sample_id", _S),  # the slot: clip, task, mode, index
        ("sample_hash", _S),  # the text in it; judge scores and labels join on this
        ("clip_id", _S),
        ("task", _S),
        ("mode", _S),
        ("index", pa.int32()),
        ("question_type", _S),
        ("question", _S),
        ("options", pa.list_(_S)),
        ("reasoning", _S),
        ("answer", _S),
        ("answer_label", _S),
        ("response", _S),
        ("response_style", _S),
        ("evidence", pa.list_(EVIDENCE)),
        ("metadata_context", _S),  # explicit mode: what the trainee is shown; null in implicit mode
        ("scenario", _S),  # the situation the trainee is told of; null where there is none
        ("rejected_response", _S),  # a reply that would fit another voice of the contrast group ...
        ("rejected_style", _S),
        ("rejected_emotion", _S),  # ... namely this one; the three are null together
        ("candidates", pa.list_(CANDIDATE)),  # all answers to the same prompt, where several were asked for
        ("label_withheld", _B),  # the writer was not told the label and came to it from the rest
        ("attempts", pa.int32()),  # answers it took until one passed the checks; 1 = the first did
        ("used_columns", pa.list_(_S)),  # which clip columns this text rests on (permissions follow from it)
        ("writer", _S),
        ("prompt_hash", _S),
    ]
)
VERIFY = pa.schema([("checks_run", pa.list_(_S)), ("checks_skipped", pa.list_(_S))])
#: What can be answered without ears: by the language model, from the question alone, with the words, and for reasoning
#: from its evidence without the label. Each over several shuffles of the options; null with a reason.
BLIND = pa.schema(
    [
        ("blind_question_accuracy", _F),  # 0..1
        ("blind_text_accuracy", _F),  # 0..1, question and transcript
        ("evidence_accuracy", _F),  # 0..1, the rationale's evidence without what names the label
        ("blind_chance", _F),  # 0..1, of guessing among the options
        ("blind_reason", _S),  # why the others are null
        ("audio_contribution", _S),  # "weak" (words or question suffice) | "strong" | null
    ]
)
#: Scores of the judge, 1..5 with anchors; each criterion asked for on its own, by somebody not told who wrote.
JUDGE = pa.schema(
    [
        ("judge_content", _F),
        ("judge_paralinguistic", _F),
        ("judge_empathy", _F),
        ("judge_fluency", _F),
        ("judge_score", _F),  # 1..5, weighted mean of the criteria
        ("judge_spread", _F),  # mean standard deviation of a criterion over its votes: 0 = of one mind
        ("judge_votes", pa.int32()),  # that could be read
        ("judge_failures", pa.int32()),  # that could not
        ("judge_preference", _S),  # "chosen" | "rejected" | "tie", of the response and the rejected one; both orders
        ("judge_consistent", _B),  # both orders say the same
        ("judge_candidates", pa.list_(_F)),  # score of each of ``candidates``; null = unsound or unread
        ("judge_reason", _S),  # why the others are null
        ("judge_model", _S),
        ("judge_prompt_hash", _S),
    ]
)
ROUTE = pa.schema(
    [
        ("route", _S),
        ("route_reason", _S),
        ("pass_rate", _F),  # 0..1, how often a blind solver or a candidate was right: 1 = easy; null = not known
        ("reward_weight", _F),  # 0..1, how far the label can be trusted
        ("text_tokens", pa.int32()),  # of all that is shown and answered, at four bytes of UTF-8 a token
        ("audio_seconds", _F),
    ]
)
#: Of the finished samples together; the figures and gates are in the stage's artifact.
QUALITY = pa.schema([("question_repeats", _I)])  # samples of other clips that ask nearly the same

REJECTS = pa.schema(
    [
        ("id", _S),
        ("table", _S),
        ("stage", _S),
        ("error_class", _S),
        ("message", _S),
        ("attempt", pa.int32()),
    ]
)


# --- Casting ------------------------------------------------------------------------------------------------


def cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Select ``schema``'s columns from ``table`` in order and cast them; the only way a table is written.

    Raises:
        ValueError: a column is missing, or a value does not fit its type.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ValueError(f"columns missing: {', '.join(missing)}; there are: {', '.join(table.column_names)}")
    return table.select(schema.names).cast(schema, safe=True)


def from_rows(rows: Iterable[dict], schema: pa.Schema) -> pa.Table:
    """Rows of plain Python values to a table; absent keys are null, unknown keys are an error."""
    rows = list(rows)
    unknown = {key for row in rows for key in row} - set(schema.names)
    if unknown:
        raise ValueError(f"columns not in the schema: {', '.join(sorted(unknown))}")
    return pa.Table.from_pylist(rows, schema=schema)


def nulls(schema: pa.Schema, length: int) -> pa.Table:
    """``length`` rows of nulls: what a column file holds for rows that were not processed."""
    return pa.Table.from_arrays([pa.nulls(length, field.type) for field in schema], schema=schema)
