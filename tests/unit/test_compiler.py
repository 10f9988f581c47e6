"""Compilation and its cache: what is reused, what is rebuilt and what is refused."""

import json
import shutil

import pytest

from chain import compiler
from chain.compiler import CONTRACTS, SOURCES, CompilerError, compile_all, compile_contract
from chain.runtime import Runtime

# Above these sizes no mainnet accepts a contract's code (EIP-170), nor the code that creates it (EIP-3860).
CODE_LIMIT = 24_576
CREATION_LIMIT = 2 * CODE_LIMIT

NAME = "price_feed"


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the sources that a test may change."""
    copy = tmp_path / "contracts"
    shutil.copytree(SOURCES, copy)
    monkeypatch.setattr(compiler, "SOURCES", copy)
    return copy


def test_compile_all__every_contract__fits_the_code_size_limit(tmp_path):
    artefacts = compile_all(tmp_path)
    assert tuple(artefacts) == CONTRACTS
    for artefact in artefacts.values():
        runtime = Runtime.of(artefact)
        assert 0 < len(runtime.code) + runtime.immutables <= CODE_LIMIT
        assert len(artefact.bytecode) <= CREATION_LIMIT


def test_compile_contract__price_feed__has_the_aggregator_interface(tmp_path):
    artefact = compile_contract(NAME, tmp_path)
    functions = {item["name"] for item in artefact.abi if item["type"] == "function"}
    assert {"latestRoundData", "getRoundData", "decimals", "description", "post"} <= functions


def test_compile_contract__second_time__comes_from_the_cache_and_is_equal(tmp_path, monkeypatch):
    first = compile_contract(NAME, tmp_path)
    monkeypatch.setattr(compiler, "_compile", None)
    assert compile_contract(NAME, tmp_path) == first


def test_compile_contract__written__leaves_one_file_and_no_temporary(tmp_path):
    compile_contract(NAME, tmp_path / "new" / "folder")
    assert [path.suffix for path in (tmp_path / "new" / "folder").iterdir()] == [".json"]


@pytest.mark.parametrize("name", ["unknown", "ledger", "../contracts/price_feed", ""])
def test_compile_contract__unknown_name__names_it_and_the_known_ones(tmp_path, name):
    with pytest.raises(CompilerError, match="unknown contract") as caught:
        compile_contract(name, tmp_path)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in CONTRACTS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"\xff\xfe" + text,
        lambda _: b"[]",
        lambda _: b'{"artefact": {}, "sha256": ""}',
        lambda text: text.replace(b'"bytecode": "', b'"bytecode": "00'),
        lambda text: text.replace(b"latestRoundData", b"latestRoundDatb"),
    ],
)
def test_compile_contract__damaged_cache_file__is_compiled_and_written_anew(tmp_path, damage):
    whole = compile_contract(NAME, tmp_path)
    (path,) = tmp_path.iterdir()
    text = path.read_bytes()
    path.write_bytes(damage(text))
    assert compile_contract(NAME, tmp_path) == whole
    assert path.read_bytes() == text


def test_compile_contract__cache_file_of_another_contract__is_not_taken(tmp_path):
    feed, token = compile_contract(NAME, tmp_path), compile_contract("collateral_token", tmp_path)
    (of_token,) = tmp_path.glob("collateral_token-*")
    (of_feed,) = tmp_path.glob("price_feed-*")
    of_feed.write_bytes(of_token.read_bytes())
    assert compile_contract(NAME, tmp_path) == feed != token


@pytest.mark.parametrize("changed", ["price_feed.vy", "ledger.vy", "interfaces/IAggregatorV3.vyi"])
def test_compile_contract__any_source_changed__is_compiled_anew(tmp_path, sources, changed):
    before = compile_contract(NAME, tmp_path / "cache").source_hash
    path = sources / changed
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert compile_contract(NAME, tmp_path / "cache").source_hash != before
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("package", ["vyper", "snekmate"])
def test_source_hash__other_compiler_or_library_version__differs(monkeypatch, package):
    before = compiler._source_hash()
    real = compiler.version
    monkeypatch.setattr(compiler, "version", lambda name: "9.9.9" if name == package else real(name))
    assert compiler._source_hash() != before


def test_compile_contract__source_with_an_error__names_the_contract(tmp_path, sources):
    (sources / "price_feed.vy").write_text("x: public(nonsense)\n", encoding="utf-8")
    with pytest.raises(CompilerError, match="'price_feed' does not compile"):
        compile_contract(NAME, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_cached_file__content__is_readable_json_with_its_digest(tmp_path):
    artefact = compile_contract(NAME, tmp_path)
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["artefact"]["source_hash"] == artefact.source_hash
    assert len(content["sha256"]) == 64
