import pytest

from datagen import registry

#: As they are before any fixture of these tests, of whatever scope, has put the toy stages in their place.
REAL = dict(registry.BUILTIN)


@pytest.fixture(autouse=True)
def _real_stages_afterwards():
    """The toy stages take the place of the real ones only within these tests."""
    yield
    registry.BUILTIN.clear()
    registry.BUILTIN.update(REAL)
