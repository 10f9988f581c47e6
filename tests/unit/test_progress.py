"""The notes of a deployment survive being read back, and are refused for another chain or another deployment."""

import pytest

from chain.progress import Attempt, Progress, held_alone, write_whole
from config.errors import ConfigError

GENESIS = "0x" + "11" * 32
INPUTS = {"--threshold": "2", "deployer": "0xabc"}
ATTEMPT = Attempt(nonce=3, hashes=["0x01"], max_fee=7, priority_fee=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deployment.json.progress"


def test_progress__noted_step__is_known_after_it_is_opened_again(path):
    Progress.open(path, GENESIS, INPUTS).note("deploy timelock", ATTEMPT)
    again = Progress.open(path, GENESIS, INPUTS)
    assert again.attempt("deploy timelock") == ATTEMPT
    assert again.attempt("deploy risk_steward") is None


def test_progress__step_noted_twice__keeps_the_newer_and_the_other_steps(path):
    progress = Progress.open(path, GENESIS, INPUTS)
    progress.note("one", ATTEMPT)
    progress.note("two", ATTEMPT)
    newer = Attempt(nonce=3, hashes=["0x01", "0x02"], max_fee=9, priority_fee=2)
    progress.note("one", newer)
    again = Progress.open(path, GENESIS, INPUTS)
    assert (again.attempt("one"), again.attempt("two")) == (newer, ATTEMPT)


def test_progress__nothing_noted__writes_no_file(path):
    Progress.open(path, GENESIS, INPUTS)
    assert not path.exists()


def test_progress__ended__leaves_nothing_behind(path):
    progress = Progress.open(path, GENESIS, INPUTS)
    progress.note("one", ATTEMPT)
    progress.end()
    assert list(path.parent.iterdir()) == []


def test_progress__in_memory__keeps_notes_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    progress = Progress()
    progress.note("one", ATTEMPT)
    assert progress.attempt("one") == ATTEMPT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("genesis", "inputs", "words"),
    [
        ("0x" + "22" * 32, INPUTS, "was begun on another chain"),
        (GENESIS, INPUTS | {"--threshold": "3"}, "was begun with --threshold 2, now it is 3"),
        (GENESIS, {"deployer": "0xabc"}, "was begun with --threshold 2, now it is nothing"),
        (GENESIS, INPUTS | {"--price": "1"}, "was begun with --price nothing, now it is 1"),
    ],
)
def test_progress__of_another_deployment__is_refused_and_says_how_to_begin_anew(path, genesis, inputs, words):
    Progress.open(path, GENESIS, INPUTS).note("one", ATTEMPT)
    with pytest.raises(ConfigError) as caught:
        Progress.open(path, genesis, inputs)
    assert words in str(caught.value)
    assert f"to begin a new deployment remove {path}" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"genesis": 1, "inputs": {}, "attempts": {}}'])
def test_progress__damaged_file__is_refused_with_its_name_and_what_to_do(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Progress.open(path, GENESIS, INPUTS)
    *found, remedy = str(caught.value).split("\n")
    assert found
    assert all(line.startswith(f"{path}: ") for line in found)
    assert remedy.startswith(f"{path}: the notes of an unfinished deployment are damaged: remove it to begin afresh")
    assert "what was already put up stays on the chain" in remedy


def test_progress__cut_off_in_the_middle__is_refused(path):
    Progress.open(path, GENESIS, INPUTS).note("one", ATTEMPT)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="damaged"):
        Progress.open(path, GENESIS, INPUTS)


def test_held_alone__taken_twice__refuses_the_second_until_the_first_ends(path):
    with held_alone(path):
        with pytest.raises(ConfigError, match=r"progress: another `keeper deploy` is at it .*progress\.lock is locked"):
            held_alone(path).__enter__()
        assert [one.name for one in path.parent.iterdir()] == ["deployment.json.progress.lock"]
    assert list(path.parent.iterdir()) == []
    with held_alone(path):
        pass


def test_held_alone__a_fault_inside__gives_it_back(path):
    with pytest.raises(ZeroDivisionError), held_alone(path):
        raise ZeroDivisionError
    with held_alone(path):
        pass


def test_held_alone__file_of_a_killed_run_left_behind__is_taken(path):
    path.with_name(path.name + ".lock").touch()
    with held_alone(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_held_alone__lock_cannot_be_made__names_it(path):
    path.with_name(path.name + ".lock").mkdir()
    with pytest.raises(ConfigError, match=r"progress\.lock: cannot be locked: Is a directory"):
        held_alone(path).__enter__()


def test_write_whole__folder_missing__leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_whole(tmp_path / "none" / "file", "text")
    assert list(tmp_path.iterdir()) == []
