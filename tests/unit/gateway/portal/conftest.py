import pytest

from unit.gateway.portal.fakes import Platform


@pytest.fixture
def platform() -> Platform:
    return Platform()
