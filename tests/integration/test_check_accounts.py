"""Change a line of a binding's account side, and see that the check asks the accounts and names the line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from checks import line_of
from vyper.compiler import compile_code

from chain.protocol import BoundProtocol
from chain.rpc import Rpc, head
from config.deployment import MarketContracts
from config.load import load_protocol
from keeper.check_accounts import DESCRIBED, FOUND, JUDGED, check_accounts
from keeper.check_protocol import check_protocol
from keeper.findings import Report, Verdict
from keeper.ground import Ground, Source

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

TARGETS = Path(__file__).parent / "targets"
ASSET = "0x" + "a5" * 32
KEYS = {"vaults": {"asset": ASSET, "is_put": True}, "positions": {"board": 7}}
NAMES = {"vaults": ("pool", "controller"), "positions": ("market",)}

LIQUIDATION = """
[liquidation]
function = "price()"
"""
"""A call that exists: what it does is not what is looked at."""


@pytest.fixture(scope="module")
def protocols(fresh_chain):
    """The positions and the vaults, without an account."""

    def deployed(name, *arguments):
        output = compile_code((TARGETS / f"{name}.vy").read_text(), output_formats=["abi", "bytecode"])
        eth = fresh_chain.deployer.web3.eth
        factory = eth.contract(abi=output["abi"], bytecode=output["bytecode"])
        tx_hash = factory.constructor(*arguments).transact({"from": fresh_chain.deployer.address})
        receipt = eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
        return eth.contract(address=receipt["contractAddress"], abi=output["abi"])

    return {"positions": deployed("positions", [100, 20, 30]), "vaults": deployed("vaults")}


@pytest.fixture
def examined(protocols, bare, tmp_path):
    """Check one of the protocols, its binding changed piece by piece."""

    async def run(name, *replacements, checks=(check_accounts,), since_block=0):
        text = (TARGETS / f"{name}.toml").read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "mine.toml").write_text(text)
        binding = load_protocol("mine.toml", tmp_path / "keeper.toml")
        bound = BoundProtocol(binding, dict.fromkeys(NAMES[name], protocols[name].address), KEYS[name])
        async with Rpc(bare.url) as rpc:
            market = MarketContracts(contracts=dict(bound.contracts), since_block=since_block)
            deployment = SimpleNamespace(block=0, code_hashes={}, markets={"M": market})
            ground = Ground(rpc, await head(rpc), deployment)
            source = Source(binding, "mine.toml", text)
            return Report(tuple([one for check in checks for one in await check(ground, "M", source, bound)]))

    return run


@pytest.fixture
def positions(protocols, bare):
    """Two open positions, of which one is liquidatable, and a closed one."""
    contract = protocols["positions"]
    for series, debt, limit in ((1, 50, 60), (2, 99, 100), (3, 7, 6)):
        bare.deployer.send(contract, "open_position", series, debt, limit)
    bare.deployer.send(contract, "close_position", 2)


@pytest.fixture
def vaults(protocols, bare):
    """One vault that was opened in the first of two oracle rounds."""
    contract = protocols["vaults"]
    product = bare.deployer.web3.keccak(bytes.fromhex(ASSET[2:]) + (1).to_bytes(32))
    bare.deployer.send(contract, "set_shocks", product, (10**27, 10**18))
    bare.deployer.send(contract, "post", ASSET, 100)
    bare.deployer.send(contract, "open_vault", 1, 120, ASSET)
    bare.deployer.send(contract, "post", ASSET, 110)


def toml_line(name, piece, nth=0):
    """Return file and line of a piece of an unchanged binding."""
    return f"mine.toml:{line_of((TARGETS / f'{name}.toml').read_text(), piece, nth)}"


def said(report):
    """Return verdict and detail by check."""
    return {finding.check: (finding.verdict, finding.detail) for finding in report.findings}


# What fits


@pytest.mark.usefixtures("positions")
async def test_check__accounts_with_running_ids__are_all_described_and_judged(examined):
    found = said(await examined("positions"))
    assert found == {
        FOUND: (Verdict.OK, "3 accounts"),
        DESCRIBED: (Verdict.OK, "2 lookups, 2 open accounts"),
        JUDGED: (Verdict.OK, "2 accounts answer, 1 liquidatable"),
    }


@pytest.mark.usefixtures("vaults")
async def test_check__accounts_known_by_events__are_judged_in_every_round(examined):
    found = said(await examined("vaults"))
    assert found["oracle rounds answer"] == (Verdict.OK, "2 rounds to check")
    assert found[JUDGED] == (Verdict.OK, "1 accounts answer, 0 liquidatable")


@pytest.mark.usefixtures("vaults")
async def test_check__block_where_logs_begin_is_not_recorded__fails_and_names_the_key(examined):
    (failure,) = (await examined("vaults", since_block=None)).failures
    assert failure.check == FOUND
    assert failure.detail.startswith("the deployment file: markets.M.since_block: missing")


@pytest.mark.usefixtures("positions")
async def test_check__accounts_that_no_log_is_needed_for__need_no_block(examined):
    assert (await examined("positions", since_block=None)).ok


@pytest.mark.parametrize("name", ["positions", "vaults"])
async def test_check__no_account__is_noted_and_not_passed(examined, name):
    (finding,) = (await examined(name)).findings
    assert (finding.check, finding.verdict) == (FOUND, Verdict.NOTE)
    assert finding.detail.startswith("no account to ask")


@pytest.mark.usefixtures("positions")
async def test_check__no_open_account__is_noted_and_not_passed(examined):
    report = await examined("positions", ("equals = 1", "equals = 9"))
    assert said(report)[DESCRIBED] == (
        Verdict.NOTE,
        "no open account to ask: oracle rounds and health were not tried",
    )
    assert JUDGED not in said(report)


# What does not


POSITIONS_DIFFER = {
    "count that is refused": (("next_id()", "nextId()"), "next = ", 0, FOUND, "nextId() is refused"),
    "lookup that is refused": (
        ("series_limit(uint256)", "seriesLimit(uint256)"),
        "[[accounts.lookups]]",
        1,
        DESCRIBED,
        "seriesLimit(uint256) of account 1 is refused",
    ),
    "lookup of one account": (
        ('args = ["$account.series"]\nreturns', "args = [4]\nreturns"),
        "[[accounts.lookups]]",
        1,
        DESCRIBED,
        "series_limit(uint256) of account 1 is refused: positions: no series",
    ),
    "lookup of other types": (
        ('"uint8 state", "address owner"', '"uint8 state", "address owner", "uint256 a", "uint256 b"'),
        "[[accounts.lookups]]",
        0,
        DESCRIBED,
        "accounts.lookups.0: position(uint256) of 1 does not return",
    ),
    "health that is refused": (
        ("debt_of(uint256)", "debtOf(uint256)"),
        "[health]",
        0,
        JUDGED,
        "debtOf(uint256) of account 1 is refused",
    ),
    "health word": (("word = 1\nliquidatable", "word = 2\nliquidatable"), "[health]", 0, JUDGED, "the answer has 64"),
}


@pytest.mark.usefixtures("positions")
@pytest.mark.parametrize("case", POSITIONS_DIFFER)
async def test_check__account_side_of_the_binding_is_wrong__names_line_view_and_account(examined, case):
    replacement, piece, nth, check, words = POSITIONS_DIFFER[case]
    (failure,) = (await examined("positions", replacement)).failures
    assert words in failure.detail
    assert failure.check == check
    assert failure.where == toml_line("positions", piece, nth)


@pytest.mark.usefixtures("positions")
async def test_check__one_account_of_several_is_refused__is_noted_with_its_name_and_the_others_are_judged(
    examined, protocols, bare
):
    bare.deployer.send(protocols["positions"], "open_position", 4, 1, 0)  # a series without a limit
    report = await examined("positions")
    assert report.ok
    (note,) = [one for one in report.findings if one.verdict is Verdict.NOTE]
    assert note.detail.startswith("series_limit(uint256) of account 4 is refused: positions: no series (1 of 3)")
    assert note.where == toml_line("positions", "[[accounts.lookups]]", 1)
    assert said(report)[JUDGED] == (Verdict.OK, "2 accounts answer, 1 liquidatable")


PAGED = """\
[accounts.view]
function = "page(uint256,uint256)"
count = { function = "next_id()" }
page = 2
returns = ["uint256 account", "int256 debt", "bool liquidatable"]

[accounts.ids]"""


@pytest.mark.usefixtures("positions")
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("page(", "pages(", "pages(uint256,uint256) is refused"),
        ('"int256 debt", ', '"int256 debt", "string", ', "accounts.view: page(uint256,uint256) does not return"),
    ],
)
async def test_check__paged_view_is_wrong__names_its_line(examined, old, new, words):
    text = (TARGETS / "positions.toml").read_text()
    ways = text[text.index("[accounts.ids]") : text.index("[health]")]
    view = PAGED.removesuffix("[accounts.ids]")
    health = ('threshold = "$account.limit"', 'threshold = "$account.debt"')
    whole = await examined("positions", (ways, view), health)
    assert whole.ok, whole.failures
    (failure,) = (await examined("positions", (ways, view.replace(old, new, 1)), health)).failures
    assert words in failure.detail
    assert failure.where == toml_line("positions", "[accounts.ids]")


@pytest.mark.usefixtures("vaults")
@pytest.mark.parametrize(
    ("old", "new", "piece", "words"),
    [
        ('first = "$account.updated_round"', "first = 3", "first = ", "health.rounds.first = 3 for account 0x"),
        ('latest = { function = "latest_round', 'latest = { function = "last', "latest = ", "last(bytes32) of account"),
        ("word = 1 }\nfirst", "word = 2 }\nfirst", "latest = ", "health.rounds.latest: the answer has 64 bytes"),
    ],
)
async def test_check__oracle_rounds_are_wrong__names_their_line(examined, old, new, piece, words):
    (failure,) = (await examined("vaults", (old, new))).failures
    assert words in failure.detail
    assert (failure.check, failure.where) == ("oracle rounds answer", toml_line("vaults", piece))


@pytest.mark.usefixtures("positions")
async def test_check__liquidation_call__is_made_up_for_an_account_and_not_sent(examined, bare):
    before = bare.transactions()
    report = await examined("positions", ("\n[[limits]]", LIQUIDATION + "\n[[limits]]"))
    assert said(report)["an account can be liquidated"][0] is Verdict.OK
    assert bare.transactions() == before


@pytest.mark.usefixtures("positions")
async def test_check__liquidation_takes_smaller_numbers_than_accounts_have__names_its_line(examined):
    liquidation = LIQUIDATION.replace('"price()"', '"liquidate(uint8)"\nargs = ["$account.big"]')
    owner = ('"address owner"', '"uint160 big"')
    report = await examined("positions", owner, ("\n[[limits]]", liquidation + "\n[[limits]]"))
    (failure,) = report.failures
    assert (failure.check, "does not fit uint8" in failure.detail) == ("an account can be liquidated", True)
    assert failure.where == toml_line("positions", "[[limits]]")


@pytest.mark.parametrize(
    ("old", "new", "piece", "words"),
    [
        ("end_auction(bytes32)", "endAuction(bytes32)", "[end_auction]", "market has no endAuction(bytes32)"),
        ("\n[[limits]]", LIQUIDATION.replace("price", "seize") + "\n[[limits]]", "[[limits]]", "market has no seize()"),
        ("debt_of(uint256)", "debtOf(uint256)", "[health]", "market has no debtOf(uint256)"),
        ("series_limit(uint256)", "limit(uint256)", "[[accounts.lookups]]", "market has no limit(uint256)"),
        ("next_id()", "nextId()", "next = ", "market has no nextId()"),
    ],
)
async def test_check__function_of_the_account_side_missing__is_told_without_any_account(
    examined, old, new, piece, words
):
    report = await examined("positions", (old, new), checks=(check_protocol,))
    failure = next(one for one in report.failures if one.check == "the functions exist")
    assert failure.detail == words
    assert failure.where == toml_line("positions", piece, 1 if piece == "[[accounts.lookups]]" else 0)


@pytest.mark.parametrize(
    ("name", "old", "new", "piece"),
    [
        ("positions", "AuctionStarted(bytes32 indexed", "AuctionBegan(bytes32 indexed", "event = "),
        ("vaults", "number, uint256 collateral)", "number, uint128 collateral)", "event = "),
    ],
)
async def test_check__event_that_the_code_has_not__is_noted_with_its_line(examined, name, old, new, piece):
    whole = await examined(name, checks=(check_protocol,))
    assert not any(" logs " in one.check for one in whole.findings if one.verdict is not Verdict.OK)
    report = await examined(name, (old, new), checks=(check_protocol,))
    (note,) = [one for one in report.findings if one.verdict is Verdict.NOTE]
    assert "if it never logs that, none is ever seen" in note.detail
    assert note.where == toml_line(name, piece)
