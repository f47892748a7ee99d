"""A fake author for the fault server: reads the facts in a prompt of ``prompts/llm/write`` and writes what is true.

    with Server(answering=author, faults=Faults.all(0.05)) as server: ...

What it says depends on the question alone, never on the attempt, so a run through faults ends as one without them. It
is there to test what lies around a writer; as an author it is poor: one phrase for each thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datagen.quality.cues import weigh
from datagen.quality.grounding import bare

Facts = Mapping[str, Any]
Answer = dict[str, Any]

_NOUNS = {
    "pitch_level": "pitch of the voice", "pitch_range_level": "pitch range", "loudness_level": "loudness",
    "rate_level": "speaking rate", "pause_level": "share of silence between the words",
    "arousal_level": "vocal energy", "dominance_level": "dominance in the voice",
}  # fmt: skip
_SOUNDS = {"sigh": "a sigh", "cough": "a cough", "breath": "an audible breath"}
_REPLIES = {
    "angry": "You have every reason to object when something is not right. Tell me what happened, please.",
    "disgusted": "That is hard to stomach, and nobody wants to go on like this. What would you rather have instead?",
    "fearful": "It is all right to be unsure. We can go through it one small step at a time, and I stay with you.",
    "happy": "That is great to hear, and it makes my day as well! What was the best part of it for you?",
    "neutral": "Thank you, that is clear to me. Is there anything you would like me to do about it right away?",
    "sad": "I am sorry to hear you like this. Take your time, I am listening for as long as you want me to.",
    "surprised": "That seems to have caught you off guard! What happened then, and what do you make of it now?",
    None: "Go on, I am listening to every word of it. Which of these things would you like to take up first?",
}
_STYLES = "Style words that fit: "


def author(body: Mapping[str, Any]) -> Any:
    """The answer to a request's body: a value for the prompt's schema, a greeting to anybody who asks something else
    (clients probe whether a server is alive)."""
    if not asks(body):
        return "Hello."
    facts, slot = read(body)
    writers = {
        "classification": _classification, "qa": _qa, "reasoning": _reasoning, "response": _response,
        "caption": _caption,
    }  # fmt: skip
    answer: Answer = writers[slot["task"]](facts, slot)
    if "question" in answer and "question" in slot:
        answer["question"] = slot["question"]
    return answer


def asks(body: Mapping[str, Any]) -> bool:
    """Whether it is a question of the writer."""
    return any("FACTS: " in str(each["content"]) and each["role"] == "user" for each in body["messages"])


def read(body: Mapping[str, Any]) -> tuple[Facts, Facts]:
    """(facts, slot) of the writer's question in a request's body."""
    question = next(str(each["content"]) for each in body["messages"] if each["role"] == "user")
    found = dict(line.split(": ", 1) for line in question.splitlines() if line.startswith(("FACTS: ", "SLOT: ")))
    styles = next((line for line in question.splitlines() if line.startswith(_STYLES)), _STYLES)
    return json.loads(found["FACTS"]), {**json.loads(found["SLOT"]), "styles": styles[len(_STYLES) :].split(", ")}


def item(facts: Facts, name: str, quote: str | None = None) -> dict[str, Any]:
    """An evidence item as a model writes one: numbers with what it takes for their unit."""
    units = {"f0_median_hz": " Hz", "f0_range_st": " semitones"}
    value = facts.get(name)
    shown = None if name == "transcript" else f"{value}{units.get(name, '')}"
    return {"field": name, "value": shown, "quote": quote}


def whole(facts: Facts) -> str:
    """All that is said, without the full stop at its end."""
    return bare(str(facts["transcript"])) or str(facts["transcript"])


def _classification(facts: Facts, slot: Facts) -> Answer:
    what = "sentiment" if "sentiment" in slot["about"] else "emotion"
    return {"question": f"Which {what} does the voice of the speaker carry in this recording?"}


def _qa(facts: Facts, slot: Facts) -> Answer:
    kind, label = slot["question_type"], slot.get("label")
    field = slot["decides"][0]["field"] if "decides" in slot else "transcript"
    said = [item(facts, "transcript", whole(facts))] if kind.startswith("content+") else []
    words = f'The speaker says "{whole(facts)}"' if said else ""
    if kind == "content":
        return _content(facts, slot)
    if field == "emotion":
        asked = "What is said, and with which emotion?" if said else "What does the speaker seem to feel?"
        told = f"{words} and sounds {label}." if said else f"Going by the voice, the speaker sounds {label}."
    elif field in _NOUNS:
        noun = _NOUNS[field]
        asked = f"What is said, and how is the {noun}?" if said else f"For such recordings, how is the {noun} here?"
        told = f"{words}, and the {noun} is {label}." if said else f"Beside similar recordings, the {noun} is {label}."
    else:
        asked, told = {
            "sentiment": ("Which sentiment does the way of speaking suggest?", f"The sentiment is {label}."),
            "sex": ("What does the voice of the speaker sound like?", f"It is a {label} voice."),
            "events": ("Which sound that is no speech does the speaker make?",
                       f"There is {_SOUNDS.get(label or '', label)} to be heard."),
        }[field]  # fmt: skip
    return {"evidence": said, "question": asked, "answer": told}


def _content(facts: Facts, slot: Facts) -> Answer:
    if "decides" in slot:
        timed = slot["decides"][0]
        start, end = timed["value"].split("-")
        asked = f'When is "{timed["quote"]}" spoken?'
        return {"evidence": [], "question": asked, "answer": f"It is spoken from {start} to {end} seconds."}
    spoken = str(facts["transcript"]).split()
    some = min(3, len(spoken))
    asked, quote = {
        "what the words are about": ("What is this recording about, in its own words?", whole(facts)),
        "a single thing that is mentioned": ("Who or what is mentioned early?", bare(" ".join(spoken[:some]))),
    }.get(slot["detail"], ("How does the speaker end?", bare(" ".join(spoken[-some:]))))
    return {
        "evidence": [item(facts, "transcript", quote)],
        "question": asked,
        "answer": f'The speaker says "{quote}" in this recording.',
    }


def _reasoning(facts: Facts, slot: Facts) -> Answer:
    about_energy = "energy" in slot["about"]
    field = "arousal_level" if about_energy else "emotion"
    levels = {name: str(facts[name]) for name in _NOUNS if name in facts and name != field}
    label = slot.get("label") or _best(field, slot["options"], levels)
    cues, against = weigh(field, label, levels)
    cues = cues[: max(4, len(against) + 1)]
    evidence = [item(facts, name) for name in (*cues, *against)]
    text = ["Before anything else I go through the sound of the voice, because the manner of speaking has to decide."]
    text += [f"{lead}the {_NOUNS[name]} is {levels[name]}." for lead, name in zip(_LEADS, cues, strict=False)]
    if against:
        told = [f"the {_NOUNS[name]} is {levels[name]}" for name in against]
        text.append(f"Not all of it goes together, since {', and '.join(told)}.")
        text.append("There is more on the other side, though, and that weighs heavier with me.")
    if "transcript" in facts and not about_energy:
        evidence.append(item(facts, "transcript", whole(facts)))
        text.append(f'After that I turn to the wording, "{whole(facts)}".')
    if "cue_relation" in facts and not about_energy and facts["cue_relation"] in _RELATIONS:
        evidence.append(item(facts, "cue_relation"))
        text.append(_RELATIONS[facts["cue_relation"]])
    text.append("None of this decides alone, but taken as a whole it allows one conclusion that I can stand by.")
    text.append(f"I conclude that {'the vocal energy is' if about_energy else 'the speaker sounds'} {label}.")
    asked = "How much vocal energy is there" if about_energy else "Which emotion does the speaker express"
    return {
        "evidence": evidence,
        "question": f"{asked}, and what tells you so?",
        "reasoning": " ".join(text),
        **({"answer": label} if "label" not in slot else {}),
    }


_LEADS = (
    "Set beside comparable recordings, ", "Together with that, ", "What is more, ", "Besides, ", "Also, ", "Then ",
    "Last, ",
)  # fmt: skip
_RELATIONS = {
    "conflict": "Here the words and the voice disagree, so I trust the sound over the wording.",
    "matched": "These words point the same way as the voice does.",
    "neutral_text": "On paper these words carry no particular feeling, so the sound has to decide.",
}


def _best(field: str, options: list[str], levels: Mapping[str, str]) -> str:
    """The option that most of the levels speak for."""
    return max(options, key=lambda label: len(weigh(field, label, levels)[0]) - len(weigh(field, label, levels)[1]))


def _response(facts: Facts, slot: Facts) -> Answer:
    reply = _REPLIES[slot.get("label")]
    return {"evidence": [], "response": reply, "response_style": " and ".join(slot["styles"][:2])}


def _caption(facts: Facts, slot: Facts) -> Answer:
    evidence, who = [], "a speaker"
    if "sex" in facts:
        evidence.append(item(facts, "sex"))
        who = f"a {facts['sex']} speaker"
    if "emotion" in facts:
        evidence.append(item(facts, "emotion"))
        who += f" who sounds {facts['emotion']}"
    text = [f"This is {who}."]
    for lead, name in zip(_LEADS, [name for name in _NOUNS if name in facts][:4], strict=False):
        evidence.append(item(facts, name))
        number = ""
        if slot["numbers"] and name == "pitch_level" and "f0_median_hz" in facts:
            evidence.append(item(facts, "f0_median_hz"))
            number = f", at a median of {facts['f0_median_hz']} Hz"
        text.append(f"{lead}the {_NOUNS[name]} is {facts[name]}{number}.")
    for sound in facts.get("events", [])[:1]:
        shown = sound[0] if len(sound) == 1 else f"{sound[0]} {sound[1]:.2f}-{sound[2]:.2f}"
        evidence.append({"field": "events", "value": shown, "quote": None})
        text.append(f"There is {_SOUNDS.get(sound[0], sound[0])} to be heard.")
    if "transcript" in facts:
        quote = bare(" ".join(str(facts["transcript"]).split()[:12]))
        evidence.append(item(facts, "transcript", quote))
        text.append(f'One hears the words "{quote}".')
    return {"evidence": evidence[:12], "answer": " ".join(text)}
