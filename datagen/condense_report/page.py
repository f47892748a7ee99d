"""The page that ties a condensation's figures and pictures together: one HTML file that needs nothing beside it.

Texts, names and labels in it come from strangers. Everything is escaped, there is no script, and a policy in the page
forbids the browser to load or run anything.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datagen.condense_report.measures import GATE_COUNTS, MEASURES, STATE_NAMES, measure, number, reason, time
from datagen.condense_report.panels import Report, clips
from datagen.escape import plain
from datagen.quality.feasible import sentences
from datagen.quality.states import STATES

_CHANGE = {
    "kept_before": "kept by the last selection",
    "still_kept": "of these still kept",
    "no_longer_in_input": "of these no longer in the input",
    "new_clips": "clips that the last selection had not seen",
    "added_of_new": "of these kept",
    "added_of_dropped_before": "dropped then, kept now",
}
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #22303c; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p { max-width: 46rem; } .lead { color: #5f6f7c; font-size: 1.05rem; margin-top: .2rem; }
table { border-collapse: collapse; font-size: 14px; } th, td { padding: .25rem .8rem .25rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid #e4e9ed; } th { color: #5f6f7c; font-weight: 600; }
.n { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; margin: .6rem 0; }
code { font-size: 13px; color: #5f6f7c; } .wide { overflow-x: auto; }
"""


def page(report: Report, pictures: Mapping[str, tuple[bytes, str]]) -> str:
    """The whole page; ``pictures`` are (PNG bytes, what it shows) by file name."""
    before, after = report["before"], report["after"]
    lead = " → ".join(f"{clips(state['clips'])}, {time(state['hours'])}" for state in (before, after))
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>Condensation</title><style>{_STYLE}</style>",
        f'<h1>Condensation</h1><p class="lead">{lead}</p>',
        _levels(report),
        _measures(report),
        *(_picture(data, shown) for data, shown in pictures.values()),
        _dropped(report),
        _gates(report),
        _shortfalls(report),
        _contrast(report),
        _relations(report),
        _change(report),
        _pairs(
            "Copies under another label",
            f"{number(report['copies_with_other_labels'])} removed copies bear another emotion or speaker than the "
            "kept clip: one of the two labels is wrong, and only a listener can tell which.",
            report["examples"]["copies_with_other_labels"],
        ),
        _pairs(
            "Removed because the same as",
            "Some of each kind, those with the smallest ids.",
            report["examples"]["removed_because_same"],
        ),
        _kept_of_equals(report),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _text(value: Any, limit: int = 120) -> str:
    return html.escape(plain(value, limit)) if value is not None else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Cells are markup already; the first ``words`` columns are words, the others numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ("" if place < words else ' class="n"' for place in range(len(cells)))
        return "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    body = "\n".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>{line(header, "th")}\n{body}</table></div>'


def _section(name: str, *parts: str) -> str:
    return "\n".join([f"<h2>{name}</h2>", *(part for part in parts if part)])


def _measures(report: Report) -> str:
    states = [report[state] for state in STATES]
    rows = [
        (told, *(measure(name, state.get(name)) for state in states))
        for name, told in MEASURES.items()
        if any(state.get(name) is not None for state in states)
    ]
    return _section("Before and after", _table(("", *STATE_NAMES), rows))


def _picture(data: bytes, shown: str) -> str:
    return f'<img alt="{html.escape(shown)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _levels(report: Report) -> str:
    """What was looked for: where a recipe leaves a search out, nothing found does not mean nothing there."""
    told = "; ".join(f"{_text(name)}: {_text(how)}" for name, how in (report.get("levels") or {}).items())
    return f"<p>Copies and repeats looked for: {told}.</p>" if told else ""


def _dropped(report: Report) -> str:
    rows = [
        (f"<code>{_text(name)}</code>", reason(name), number(count), time(report["dropped_hours"][name]))
        for name, count in report["dropped"].items()
    ]
    return _section("Dropped", _table(("reason", "the clip", "clips", "time"), rows, 2) if rows else "<p>Nothing.</p>")


def _gates(report: Report) -> str:
    gates = report.get("gates")
    if not gates:
        return ""
    rows = [
        (f"<code>{_text(gate)}</code>", *(number(counts.get(name)) for name in GATE_COUNTS))
        for gate, counts in gates.items()
    ]
    return _section(
        "Gates",
        "<p>Clips that each gate would remove alone, those it removed of what the gates before it had left, and those "
        "of which nothing was measured.</p>",
        _table(("gate", *GATE_COUNTS), rows),
    )


def _shortfalls(report: Report) -> str:
    lacking = report.get("shortfalls")
    if not lacking:
        return ""
    hidden = report["shortfalls_in_all"] - len(lacking)
    return _section(
        "What could not be had",
        *(f"<p>{_text(told, 1000)}</p>" for told in sentences(lacking)),
        f"<p>And {hidden:,} more.</p>" if hidden else "",
    )


def _contrast(report: Report) -> str:
    found = report["contrast"]
    if not found["groups"]:
        return ""
    rows = [
        (f"<code>{_text(name)}</code>", number(groups), number(found["clips_by_type"].get(name)))
        for name, groups in found["groups_by_type"].items()
    ]
    told = f"{found['groups']:,} groups of clips with the same words, said in different ways; {found['clips']:,} clips."
    return _section("Contrast", f"<p>{told}</p>", _table(("type", "groups", "clips"), rows))


def _relations(report: Report) -> str:
    found = report["distributions"].get("cue_relation")
    if not found:
        return ""
    rows = [(_text(row["name"]) or "not known", *(number(row["clips"][state]) for state in STATES)) for row in found]
    return _section("Words and voice", _table(("cue_relation", *STATE_NAMES), rows))


def _change(report: Report) -> str:
    found = report.get("change")
    if not found:
        return ""
    rows = [(told, number(found[name])) for name, told in _CHANGE.items()]
    rows += [(f"withdrawn: <code>{_text(name)}</code>", number(n)) for name, n in found["withdrawn"].items()]
    return _section("Since the last selection", _table(("", "clips"), rows))


def _pairs(name: str, told: str, pairs: Sequence[Mapping[str, Any]]) -> str:
    if not pairs:
        return ""
    rows = [
        (
            f"<code>{_text(pair['reason'])}</code>",
            _clip(pair["removed"]),
            _clip(pair["kept"]),
            _text(pair["kept_because"]),
        )
        for pair in pairs
    ]
    return _section(name, f"<p>{told}</p>", _table(("reason", "removed", "kept", "because"), rows, 4))


def _clip(clip: Mapping[str, Any]) -> str:
    facts = [clip.get(name) for name in ("emotion", "speaker", "corpus")]
    length = f"{clip['duration']:.2f} s" if clip.get("duration") is not None else None
    told = ", ".join(_text(fact, 60) for fact in (*facts, length) if fact is not None)
    said = f"“{_text(clip['text'], 200)}”<br>" if clip.get("text") else ""
    return f"{said}{told}<br><code>{_text(clip['clip_id'])}</code>"


def _kept_of_equals(report: Report) -> str:
    """The rule, and how often each part of it decided."""
    decided = report["kept_because"]
    if not decided:
        return ""
    rules = dict.fromkeys([*report["kept_of_equals"], *decided])
    rows = [(str(place), _text(rule), number(decided.get(rule, 0))) for place, rule in enumerate(rules, 1)]
    return _section(
        "Which of several equals is kept",
        "<p>The first of these in which they differ decides.</p>",
        _table(("", "rule", "decided"), rows, 2),
    )
