"""Cut a deployment short wherever it can be, and see that it goes on and ends the same, each step made once."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession, web
from processes import environment, http_server, start_python
from pydantic import SecretStr
from setups import ADDRESSES, OWNER, settings_file, trial_of
from trials import MARKET

from chain.deploy import Deployer
from chain.progress import Progress
from config.deployment import load_deployment
from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, Secrets, load_protocol, load_settings
from keeper.deploying import Asked, deploy
from keeper.terminal import EXIT_FAILED, EXIT_USAGE

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)


@pytest.fixture
def config(bare, tmp_path):
    """Settings of a place where nothing is deployed yet."""
    return settings_file(tmp_path, bare.url)


@pytest.fixture
def target(tmp_path):
    """Where the deployment file goes."""
    return tmp_path / "deployment.json"


class CutShort(Exception):
    """The process ends here."""


class Line:
    """The way to the endpoint, cut before or after one `eth_sendRawTransaction`."""

    def __init__(self, request, at, *, after):
        self.request, self.at, self.after, self.sent = request, at, after, 0

    def __call__(self, method, params):
        if method != "eth_sendRawTransaction":
            return self.request(method, params)
        self.sent += 1
        if self.sent == self.at and not self.after:
            raise CutShort
        answer = self.request(method, params)
        if self.sent == self.at and self.after:
            raise CutShort
        return answer


def run_deploy(monkeypatch, config, target, *, at=0, after=False, asked=None):
    """Deploy in this process; raise CutShort at the `at`th transaction."""
    connect = Deployer.connect.__func__

    def cut(cls, *arguments):
        deployer = connect(cls, *arguments)
        provider = deployer.web3.provider
        provider.make_request = Line(provider.make_request, at, after=after)
        return deployer

    with monkeypatch.context() as patch:
        patch.setattr(Deployer, "connect", classmethod(cut))
        settings = load_settings(config, {})
        return deploy(settings, Secrets(SecretStr(OWNER)), {MARKET: PROTOCOL}, target, asked or Asked(), lambda _: None)


@pytest.fixture
def undisturbed(bare, config, tmp_path, monkeypatch):
    """What a run that nothing disturbs ends in: the file, and the transactions it took."""
    snapshot, before = bare.ask("evm_snapshot"), bare.transactions()
    run_deploy(monkeypatch, config, tmp_path / "undisturbed.json")
    took = bare.transactions() - before
    assert bare.ask("evm_revert", snapshot)
    return (tmp_path / "undisturbed.json").read_text(), took


@pytest.mark.parametrize("after", [False, True], ids=["before sending", "after sending"])
def test_deploy__cut_short_at_every_transaction__ends_the_same_with_no_step_twice(
    bare, config, target, monkeypatch, undisturbed, after
):
    text, took = undisturbed
    assert took > 12
    start = bare.transactions()
    for at in range(1, took + 1):
        snapshot = bare.ask("evm_snapshot")
        with pytest.raises(CutShort):
            run_deploy(monkeypatch, config, target, at=at, after=after)
        assert not target.exists()
        run_deploy(monkeypatch, config, target)
        assert target.read_text() == text
        assert bare.transactions() - start == took
        assert bare.ask("evm_revert", snapshot)
        target.unlink()


def test_deploy__cut_short_again_and_again__ends_the_same_with_no_step_twice(
    bare, config, target, monkeypatch, undisturbed
):
    text, took = undisturbed
    start, cuts = bare.transactions(), 0
    while True:
        try:
            run_deploy(monkeypatch, config, target, at=1, after=cuts % 3 > 0)
        except CutShort:
            cuts += 1
        else:
            break
    assert cuts > took
    assert target.read_text() == text
    assert bare.transactions() - start == took


def test_deploy__signed_but_still_in_the_pool__is_replaced_under_its_own_nonce(
    bare, config, target, monkeypatch, undisturbed
):
    _, took = undisturbed
    start = bare.transactions()
    bare.ask("evm_setAutomine", False)
    with pytest.raises(CutShort):
        run_deploy(monkeypatch, config, target, at=1, after=True)
    with pytest.raises(CutShort):
        run_deploy(monkeypatch, config, target, at=1, after=True)
    assert (bare.transactions(), int(bare.ask("txpool_status")["pending"], 16)) == (start, 1)
    bare.ask("evm_setAutomine", True)
    bare.ask("evm_mine")
    run_deploy(monkeypatch, config, target)
    assert bare.transactions() - start == took


def test_deploy__nonce_was_taken_by_another_transaction__makes_the_step_under_a_new_one(
    bare, config, target, monkeypatch
):
    with pytest.raises(CutShort):
        run_deploy(monkeypatch, config, target, at=3)
    bare.send_as(bare.deployer.address, ADDRESSES[3], "0x")
    run_deploy(monkeypatch, config, target)
    assert trial_of(bare, load_deployment(target))["market"].functions.price().call()[0] == 1_000 * 10**8


def test_deploy__cut_short_after_the_file_was_written__removes_the_notes_and_sends_nothing(
    bare, config, target, monkeypatch, undisturbed
):
    def cut(_):
        raise CutShort

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "end", cut)
        with pytest.raises(CutShort):
            run_deploy(monkeypatch, config, target)
    before = bare.transactions()
    run_deploy(monkeypatch, config, target)
    assert bare.transactions() == before
    assert target.read_text() == undisturbed[0]
    assert [path.name for path in target.parent.glob("deployment.json*")] == ["deployment.json"]


def test_deploy__taken_up_with_other_arguments__is_refused_and_names_them(bare, config, target, monkeypatch, command):
    with pytest.raises(CutShort):
        run_deploy(monkeypatch, config, target, at=4)
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--price", 2, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "was begun with --price 1000.0, now it is 2.0" in ended.err
    assert bare.transactions() == before


async def test_deploy__killed_by_a_signal__goes_on_when_started_again(bare, config, target, undisturbed):
    text, took = undisturbed
    start = bare.transactions()
    for at, forwards in ((1, True), (4, False), (2, True), (3, False)):
        assert await run_until_killed(bare, config, at, forwards=forwards)
        assert not target.exists()
    assert not await run_until_killed(bare, config, 0, forwards=True)
    assert bare.transactions() - start == took
    assert target.read_text() == text


async def run_until_killed(bare, config, at, *, forwards):
    """Run `keeper deploy` as a process, killed at its `at`th transaction, which reaches the chain or does not.

    Returns whether it was killed; it must have ended well otherwise.
    """
    sent, process = 0, None

    async def answer(request):
        nonlocal sent
        body = await request.json()
        sent += body["method"] == "eth_sendRawTransaction"
        last = body["method"] == "eth_sendRawTransaction" and sent == at
        if last and not forwards:
            process.kill()
        async with ClientSession() as session, session.post(bare.url, json=body) as answered:
            reply = await answered.json()
        if last:
            process.kill()
        return web.json_response(reply)

    async with http_server(answer) as url:
        variables = environment(OWNER, KEEPER_RPC_URL=url)
        process = await start_python("-m", "keeper", "deploy", "-c", str(config), cwd=config.parent, env=variables)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in {0, -9}, errors
    return process.returncode == -9


# Two at once, a transaction that hangs, damaged notes


def test_deploy__another_run_is_at_it__is_refused_and_the_first_ends_as_if_alone(
    bare, config, target, monkeypatch, undisturbed
):
    second = []

    def meanwhile(step):
        if step == "deploy risk_steward":
            with pytest.raises(ConfigError, match="another `keeper deploy` is at it") as caught:
                run_deploy(monkeypatch, config, target)
            second.append(str(caught.value))

    text, took = undisturbed
    start = bare.transactions()
    settings, secrets = load_settings(config, {}), Secrets(SecretStr(OWNER))
    deploy(settings, secrets, {MARKET: PROTOCOL}, target, Asked(), meanwhile)
    (words,) = second
    assert words.startswith(f"{target}.progress: ")
    assert bare.transactions() - start == took
    assert target.read_text() == text
    assert [path.name for path in target.parent.glob("deployment.json*")] == ["deployment.json"]


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda _: ""], ids=["cut off", "empty"])
def test_deploy__notes_are_damaged__are_named_with_what_to_do_and_nothing_is_sent(
    bare, config, target, monkeypatch, command, damage
):
    with pytest.raises(CutShort):
        run_deploy(monkeypatch, config, target, at=4)
    notes = target.with_name("deployment.json.progress")
    notes.write_text(damage(notes.read_text()))
    before = bare.transactions()
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert f"{notes}: the notes of an unfinished deployment are damaged: remove it to begin afresh" in ended.err
    assert "what was already put up stays on the chain" in ended.err
    assert bare.transactions() == before
    notes.unlink()
    assert command("deploy", "-c", config, key=OWNER).code == 0


def test_deploy__transaction_is_not_mined__says_so_after_the_time_set_and_is_replaced_by_the_next_run(
    bare, config, target, command, undisturbed
):
    text, took = undisturbed
    start = bare.transactions()
    with_timeout(config, 1)
    bare.ask("evm_setAutomine", False)
    hung = command("deploy", "-c", config, key=OWNER)
    assert hung.code == EXIT_FAILED
    assert "SPX: deploy collateral_token: sent as 0x" in hung.err
    assert "not mined within 1 s (chain.receipt_timeout_seconds); start the same command again" in hung.err
    bare.ask("evm_setAutomine", True)
    assert command("deploy", "-c", config, key=OWNER).code == 0
    assert bare.transactions() - start == took
    assert target.read_text() == text


def test_pause__transaction_is_not_mined__says_so_and_to_look_before_it_is_sent_again(bare, config, command):
    assert command("deploy", "-c", config, key=OWNER).code == 0
    with_timeout(config, 1)
    bare.ask("evm_setAutomine", False)
    hung = command("pause", MARKET, "-c", config, key=OWNER)
    assert hung.code == EXIT_FAILED
    assert "pause: sent as 0x" in hung.err
    assert "see whether it was, before you start the same command again" in hung.err


def with_timeout(config, seconds):
    """Have the settings wait so long for a transaction."""
    text = config.read_text()
    assert "\n[chain]\n" in text
    config.write_text(text.replace("\n[chain]\n", f"\n[chain]\nreceipt_timeout_seconds = {seconds}\n"))
