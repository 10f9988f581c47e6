"""A deployment file is read back as it was written, or refused with its name, key and rule."""

import pytest

from config.deployment import Deployment, MarketDeployment, load_deployment
from config.errors import ConfigError

ADDRESS = "0x" + "aB" * 20
DEPLOYMENT = Deployment(
    chain_id=31_337,
    steward=ADDRESS,
    keeper=ADDRESS,
    block=0,
    code_hashes={"steward": "0x" + "01" * 32},
    markets={"SPX": MarketDeployment(market=ADDRESS, oracle=ADDRESS, collateral=ADDRESS)},
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deployment.json"


def refusal(path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_deployment(path)
    return str(caught.value)


def test_load_deployment__file_that_was_written__is_read_back_equal(path):
    path.write_text(DEPLOYMENT.model_dump_json(), encoding="utf-8")
    assert load_deployment(path) == DEPLOYMENT


def test_load_deployment__absent__says_which_command_writes_it(path):
    with pytest.raises(ConfigError) as caught:
        load_deployment(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory; `keeper deploy` writes it"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe{}", b'{"chain_id": "\xff"}', b"[" * 5_000])
def test_load_deployment__not_json__names_the_file(path, data):
    assert refusal(path, data).startswith(f"{path}: (file)")


def test_load_deployment__not_an_object__is_refused(path):
    assert refusal(path, b"[]") == f"{path}: (file) = (list): input should be an object"


def test_load_deployment__unknown_key__suggests_the_known_one(path):
    document = DEPLOYMENT.model_dump_json().replace('"keeper"', '"keepr"')
    message = refusal(path, document.encode())
    assert f"{path}: keepr: unknown key (did you mean keeper?)" in message
    assert f"{path}: keeper: missing, and it has no default" in message


@pytest.mark.parametrize("wrong", ["0x12", ADDRESS[2:], ADDRESS + "0", "0x" + "g" * 40, ADDRESS + "\\n", ""])
def test_load_deployment__malformed_address__names_key_and_rule(path, wrong):
    message = refusal(path, DEPLOYMENT.model_dump_json().replace(ADDRESS, wrong, 1).encode())
    assert message.startswith(f"{path}: steward = ")
    assert "string should match pattern" in message


def test_load_deployment__address_of_a_market__is_named_with_the_market(path):
    head, tail = DEPLOYMENT.model_dump_json().split('"oracle":', maxsplit=1)
    message = refusal(path, (head + '"oracle":' + tail.replace(ADDRESS, "0x", 1)).encode())
    assert message.startswith(f"{path}: markets.SPX.oracle = '0x': string should match")


@pytest.mark.parametrize(
    ("old", "new"), [("31337", "0"), ("31337", '"31337"'), ("31337", "31337.5"), ('block":0', 'block":-1')]
)
def test_load_deployment__number_of_a_wrong_kind__is_refused(path, old, new):
    message = refusal(path, DEPLOYMENT.model_dump_json().replace(old, new).encode())
    assert "input should be" in message
