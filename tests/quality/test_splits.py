import pytest

from datagen.errors import RunError
from datagen.quality.splits import official_split


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("training", "train"), ("Development", "validation"), ("dev", "validation"),
     ("dev-clean", "validation"), ("val", "validation"), ("Test1", "test"), ("test_other", "test"),
     ("evaluation", "test"), ("train-clean-100", "train"), (None, None)],
)  # fmt: skip
def test_official_names(name, split):
    assert official_split(name) == split


@pytest.mark.parametrize("name", ["trainspotting", "fold3", ""])
def test_unknown_official_names_are_an_error(name):
    with pytest.raises(RunError, match="official"):
        official_split(name)
