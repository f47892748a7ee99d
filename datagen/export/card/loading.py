"""How to load the set: code that works once the folder is named."""

from __future__ import annotations

from datagen.escape import block
from datagen.export.hub import Published

#: Stands for the dataset in the code on the card. (A mere "." is refused by `datasets`.)
PLACE = "path/to/this/folder"


def loading(result: Published) -> str:
    """Code that works once the folder's name is put in; the tests run it."""
    task = next((name for name in result.configs if name != "clips"), None)
    wanted = task or "clips"
    split = next(iter(result.configs[wanted]))
    where = f'folder = "{PLACE}"  # or the name of the repository on the Hub\n'
    parts = ["## How to load it"]
    if wanted == "clips" or result.audio == "embed":
        snippet = (
            f"import io\n\nimport soundfile\nfrom datasets import Audio, load_dataset\n\n{where}"
            f'items = load_dataset(folder, "{wanted}", split="{split}")\n'
            'items = items.cast_column("audio", Audio(decode=False))  # bytes; needs no decoder\n'
            'samples, rate = soundfile.read(io.BytesIO(items[0]["audio"]["bytes"]))'
        )
    else:
        parts.append("The sound is stored once per clip. To hear an item, look its clip up:")
        snippet = (
            f"import io\n\nimport soundfile\nfrom datasets import Audio, load_dataset\n\n{where}"
            f'items = load_dataset(folder, "{task}", split="{split}")\n'
            f'clips = load_dataset(folder, "clips", split="{split}")\n'
            'clips = clips.cast_column("audio", Audio(decode=False))  # bytes; needs no decoder\n'
            'row_of = {clip_id: row for row, clip_id in enumerate(clips["clip_id"])}\n'
            'clip = clips[row_of[items[0]["clip_id"]]]\n'
            'samples, rate = soundfile.read(io.BytesIO(clip["audio"]["bytes"]))'
        )
    parts.append(block(snippet, "python"))
    parts.append(
        "Without the cast, `datasets` decodes the sound itself; from version 4 on it needs `torchcodec` and the FFmpeg "
        "libraries for that. The files are plain Parquet; the sound is FLAC, 16 kHz, mono, in `audio.bytes`."
    )
    return "\n\n".join(parts)
