import pytest

from datagen import registry


@pytest.fixture(autouse=True)
def _real_stages_afterwards():
    """The toy stages take the place of the real ones only within these tests."""
    before = dict(registry.BUILTIN)
    yield
    registry.BUILTIN.clear()
    registry.BUILTIN.update(before)
