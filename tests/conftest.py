"""Keep every test off the network and off the clock: loopback in integration and e2e, Unix sockets alone elsewhere."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, socket_allow_hosts

HERE = Path(__file__).parent
LOOPBACK_FOLDERS = (HERE / "integration", HERE / "e2e")
LOOPBACK = ["127.0.0.1", "::1", "localhost"]

# A machine that is busy with other things is no reason for a property to fail.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Restrict sockets before the first fixture of a test; pytest-socket lifts it after the last."""
    if any(item.path.is_relative_to(folder) for folder in LOOPBACK_FOLDERS):
        socket_allow_hosts(LOOPBACK, allow_unix_socket=True)
    else:
        disable_socket(allow_unix_socket=True)  # an event loop wakes itself up over a pair of Unix sockets
