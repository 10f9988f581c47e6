"""Fixtures of a bare development chain, given back unchanged after every test.

Test modules load them with `pytest_plugins = ["bare_chains"]`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import pytest
from setups import Bare

from chain.anvil import anvil
from keeper.cli import main


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys, monkeypatch):
    def run(*arguments, key=None, **environment):
        for name in [name for name in os.environ if name.startswith("KEEPER_")]:
            monkeypatch.delenv(name)
        for name, value in (({"KEEPER_PRIVATE_KEY": key} if key else {}) | environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["keeper", *(str(argument) for argument in arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(ended.value.code, said.out, said.err)

    return run


# END


@pytest.fixture(scope="module")
def fresh_chain():
    """A development chain for the module, with nothing on it."""
    with anvil() as running:
        yield Bare.at(running.url)


@pytest.fixture
def bare(fresh_chain):
    """The module's chain, as it was before the test once the test is over."""
    snapshot = fresh_chain.ask("evm_snapshot")
    yield fresh_chain
    fresh_chain.ask("evm_setAutomine", True)
    assert fresh_chain.ask("evm_revert", snapshot)
