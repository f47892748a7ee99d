"""The tiny emotion2vec is in the published form, as FunASR itself sees it, and what it says depends on the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.testing.checkpoints import emotion2vec as checkpoints
from datagen.testing.speech import synth


def test_same_seed_same_files_another_seed_others(emotion2vec_folder: Path, tmp_path: Path) -> None:
    import torch

    def weights(folder: Path) -> dict[str, torch.Tensor]:
        return torch.load(folder / "model.pt", weights_only=True)["model"]

    again, other = checkpoints.build(tmp_path / "again"), checkpoints.build(tmp_path / "other", seed=1)
    built = weights(emotion2vec_folder)
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in built.items())
    assert not torch.equal(built["proj.weight"], weights(other)["proj.weight"])
    for name in ("config.yaml", "tokens.txt", "configuration.json"):
        assert (emotion2vec_folder / name).read_bytes() == (again / name).read_bytes()


def test_names_shapes_and_labels_are_the_published_ones(emotion2vec_folder: Path) -> None:
    import torch

    state = torch.load(emotion2vec_folder / "model.pt", weights_only=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
    assert not any("decoder" in name for name in shapes)  # FunASR prints "miss key in ckpt" of the published base, too
    audio = "d2v_model.modality_encoders.AUDIO"
    assert shapes[f"{audio}.alibi_scale"] == (1, 1, 4, 1, 1)
    assert shapes[f"{audio}.extra_tokens"] == (1, 10, 48)
    assert shapes[f"{audio}.relative_positional_encoder.5.0.weight"] == (48, 12, 19)
    assert shapes[f"{audio}.local_encoder.conv_layers.0.0.weight"] == (24, 1, 10)
    assert shapes[f"{audio}.local_encoder.conv_layers.6.2.1.weight"] == (24,)
    assert shapes["proj.weight"] == (9, 48)
    # A block has 12 tensors: 3 blocks here; beside them 2 + 2 + 7 * 3 + 4 + 5 * 2 + 2 as in the published large model.
    assert len(shapes) == 3 * 12 + 41 == 185 - (12 - 3) * 12
    assert (emotion2vec_folder / "tokens.txt").stat().st_size == 119  # bytes of the published file


def test_funasr_loads_the_folder_and_its_scores_tell_voices_apart(
    emotion2vec_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from funasr import AutoModel

    model = AutoModel(model=str(emotion2vec_folder), device="cpu", disable_update=True, disable_pbar=True)
    missed = [line for line in capsys.readouterr().out.splitlines() if "miss key" in line]
    assert missed and all("AUDIO.decoder." in line for line in missed)
    voices = [synth(3, f0_hz=90 * 1.3**at, rate=3 + at, seed=at)[0] for at in range(5)]
    answers = model.generate(voices, granularity="utterance", extract_embedding=False)
    assert all(tuple(answer["labels"]) == checkpoints.TOKENS for answer in answers)
    scores = np.array([answer["scores"] for answer in answers])
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(scores, axis=0).max() > 0.1
