"""An Audio Spectrogram Transformer with random weights, in the files in which the AudioSet model is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

Size = Literal["tiny", "base"]
#: "base" is the published size, "tiny" two layers of 16 dimensions that look at larger patches further apart.
_SIZES: dict[Size, dict[str, Any]] = {
    "tiny": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
             "frequency_stride": 64, "time_stride": 16},
    "base": {},
}  # fmt: skip

_GAIN = 1.5

#: Besides the classes that are events: some that are none, among them those that most clips of speech would get.
OTHERS = (
    "Speech", "Male speech, man speaking", "Female speech, woman speaking", "Child speech, kid speaking",
    "Conversation", "Narration, monologue", "Whispering", "Singing", "Clapping", "Applause", "Dog", "Music", "Silence",
    "Inside, small room",
)  # fmt: skip


def build(folder: Path, seed: int = 0, size: Size = "tiny") -> Path:
    """Writes ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` and returns ``folder``.

    A tiny one has 0.1 MB, a base one 345 MB. The labels are AudioSet's names. The weights are large, so that a tiny
    model's scores differ by 0.15 from one sound to the next.
    """
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    from datagen.models.tagger import vocabulary

    names = [*OTHERS[:4], *vocabulary().labels, *OTHERS[4:]]
    config = ASTConfig(
        id2label=dict(enumerate(names)), label2id={name: at for at, name in enumerate(names)}, **_SIZES[size],
    )  # fmt: skip
    random = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        model = ASTForAudioClassification(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and "position" not in name:
                    tiny = 0.2 if "patch" in name else 1.0
                    # What is wide adds up more, and at last says the same of everything, or tells noise from noise.
                    weight.normal_(std=tiny if size == "tiny" else _GAIN / weight[0].numel() ** 0.5)
    finally:
        torch.random.set_rng_state(random)
    model.save_pretrained(folder, safe_serialization=True)
    ASTFeatureExtractor().save_pretrained(folder)
    return folder
