"""A small Audio Spectrogram Transformer with random weights, in the files in which the AudioSet model is published."""

from __future__ import annotations

from pathlib import Path

#: Besides the classes that are events: some that are none, among them those that most clips of speech would get.
OTHERS = (
    "Speech", "Male speech, man speaking", "Female speech, woman speaking", "Child speech, kid speaking",
    "Conversation", "Narration, monologue", "Whispering", "Singing", "Clapping", "Applause", "Dog", "Music", "Silence",
    "Inside, small room",
)  # fmt: skip


def build(folder: Path, seed: int = 0) -> Path:
    """Writes ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` (0.1 MB) and returns ``folder``.

    Two layers of 16 dimensions, strides of 64 and 16 (the published one: twelve of 768, strides of 10); the labels are
    AudioSet's names. The weights are large, so that scores differ by 0.15 from one sound to the next.
    """
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    from datagen.models.tagger import vocabulary

    names = [*OTHERS[:4], *vocabulary().labels, *OTHERS[4:]]
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, frequency_stride=64,
        time_stride=16, id2label=dict(enumerate(names)), label2id={name: at for at, name in enumerate(names)},
    )  # fmt: skip
    random = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        model = ASTForAudioClassification(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and "position" not in name:
                    weight.normal_(std=0.2 if "patch" in name else 1.0)
    finally:
        torch.random.set_rng_state(random)
    model.save_pretrained(folder, safe_serialization=True)
    ASTFeatureExtractor().save_pretrained(folder)
    return folder
