"""What only the person who publishes can say, and the sections that hold it."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.escape import block, markdown, plain


@dataclass(frozen=True)
class About:
    """What only the person who publishes can say."""

    title: str = "Speech with paralinguistic annotations"
    description: str = ""
    citation: str = ""
    consent: str = ""


def people(about: About) -> str:
    said = markdown(about.consent, 4000) or (
        "Whoever publishes this set has to say here what the speakers agreed to. Nothing in the data says so."
    )
    return (
        "## People in it\n\nVoices are personal data. Speakers go by the names their corpus uses; do not try to find "
        "out who they are, to imitate their voices, or to judge a person by a label in this set: an emotion label says "
        "what a short clip sounds like, not what somebody felt.\n\n" + said
    )


def citation(about: About) -> str:
    if not about.citation:
        return "## Citation\n\nCite the corpora listed under [Permissions](#permissions) as they ask for it."
    return "## Citation\n\n" + block("\n".join(plain(line, 400) for line in about.citation.splitlines()), "bibtex")
