"""Check what mutants are made of a contract, and that a trial tells a killed one from one that lives."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mutants.equivalents import Equivalents
from mutants.mutator import mutants_of
from mutants.session import Session
from mutants.trial import INVALID, KILLED, SURVIVED, Verdict
from vyper.compiler import compile_code

TESTS = Path(__file__).resolve().parents[1]
CONTRACT = """# pragma nonreentrancy on
# pragma version ~=0.4.3
used: uint256


@external
def spend(amount: uint256, limit: uint256, packed: uint256) -> uint256:
    # Spends ≤ the limit.
    assert amount <= limit and limit > 0, "above the limit"
    if packed >> 8 == 0:
        raise "nothing packed"
    self.used += amount
    share: uint256 = min(amount, (packed >> 8) & 255)
    for index: uint256 in range(3):
        if index == share:
            break
    return share if amount != limit else self.used
"""


def changes(source=CONTRACT):
    return {mutant.change for mutant in mutants_of(source, "spender.vy")}


@pytest.mark.parametrize(
    "change",
    [
        "# pragma nonreentrancy on -> #",
        'assert amount <= limit and limit > 0, "above the limit" -> pass',
        "amount <= limit and limit > 0 -> ((limit > 0))",
        "amount <= limit and limit > 0 -> ((amount <= limit))",
        "<= -> <",
        "> -> >=",
        'if packed >> 8 == 0: raise "nothing packed" -> pass',
        "packed >> 8 -> packed",
        "self.used += amount -> pass",
        "min(amount, (packed >> 8) & 255) -> amount",
        "min(amount, (packed >> 8) & 255) -> ((packed >> 8) & 255)",
        "(packed >> 8) & 255 -> (packed >> 8)",
        "index == share -> True",
        "index == share -> False",
        "break -> pass",
        "!= -> ==",
        "share if amount != limit else self.used -> share",
        "share if amount != limit else self.used -> self.used",
    ],
)
def test_mutants_of__contract__leaves_out_each_check_part_and_effect(change):
    assert change in changes()


def test_mutants_of__contract__deletes_a_refusal_whole_and_once():
    assert 'raise "nothing packed" -> pass' not in changes()
    assert not {change for change in changes() if change.startswith("packed >> 8 == 0")}


def test_mutants_of__contract__tells_line_and_function():
    found = {str(mutant) for mutant in mutants_of(CONTRACT, "spender.vy")}
    assert "spender.vy:12 spend: self.used += amount -> pass" in found


def test_apply__every_mutant__compiles_and_differs_in_its_place_alone():
    for mutant in mutants_of(CONTRACT, "spender.vy"):
        changed = mutant.apply(CONTRACT)
        compile_code(changed)
        before, after = CONTRACT.splitlines(), changed.splitlines()
        assert before[: mutant.line - 1] == after[: mutant.line - 1]
        assert changed.encode()[mutant.start :].startswith(mutant.after.encode())
        assert before[-1] == after[-1] or mutant.line == len(before)


def test_mutants_of__packed_word__loses_one_field_at_a_time():
    source = "@internal\ndef pack(a: uint256, b: uint256, c: uint256) -> uint256:\n    return a | b << 8 | c << 16\n"
    assert changes(source) == {
        "a | b << 8 | c << 16 -> (a | b << 8)",
        "a | b << 8 -> a",
        "a | b << 8 -> (b << 8)",
        "b << 8 -> b",
        "c << 16 -> c",
    }


def test_mutants_of__hash__loses_one_bound_field_at_a_time():
    source = "@internal\ndef bind(a: uint256) -> bytes32:\n    return keccak256(abi_encode(a, self, chain.id))\n"
    kept = ("self, chain.id", "a, chain.id", "a, self")
    assert changes(source) == {f"abi_encode(a, self, chain.id) -> abi_encode({fields})" for fields in kept}


def test_mutants_of__branch_and_call__is_taken_always_or_never_and_left_out():
    source = "@internal\ndef act(yes: bool):\n    if yes:\n        self._check(yes)\n    else:\n        log Acted()\n"
    assert changes(source) == {"yes -> True", "yes -> False", "self._check(yes) -> pass", "log Acted() -> pass"}


# --- Order, record and the list of equivalent mutants ---


def tried(*outcomes):
    """A session over the first mutants of the contract, with these verdicts: outcome, test."""
    session = Session(mutants_of(CONTRACT, "spender.vy")[: len(outcomes)])
    session.verdicts = {
        mutant: Verdict(outcome, test) for mutant, (outcome, test) in zip(session.mutants, outcomes, strict=True)
    }
    return session


def test_plan__killers_of_the_same_function__come_first():
    module, function, *_ = mutants_of(CONTRACT, "spender.vy")
    session = tried((KILLED, "test_a"), (KILLED, "test_b"), (SURVIVED, ""), (KILLED, "test_c"))
    assert session.plan(function).ranks == {"test_c": 0, "test_b": 1, "test_a": 2}
    assert session.plan(module).ranks == {"test_a": 0, "test_c": 1, "test_b": 2}
    assert not session.plan(replace(module, file="other.vy")).ranks


def test_summary__outcomes__counts_and_names_what_lived():
    session = tried((KILLED, "test_a"), (SURVIVED, ""), (INVALID, "test_a"))
    *named, counts = session.summary(skipped=1).splitlines()
    assert counts == "1/2 killed, 1 invalid, 1 equivalent, 0 minutes"
    assert named == [f"invalid: {session.mutants[2]}", f"survived: {session.mutants[1]}"]
    assert session.record()["survived"] == 1


def listed(tmp_path, change, because):
    path = tmp_path / "equivalent.toml"
    entry = {"file": "spender.vy", "function": "spend", "change": change, "because": because}
    path.write_text("[[equivalent]]\n" + "".join(f"{key} = '{value}'\n" for key, value in entry.items()))
    return path


def test_equivalents__listed_mutant__has_its_reason(tmp_path):
    equivalents = Equivalents.load(listed(tmp_path, "break -> pass", "It saves gas."))
    mutants = mutants_of(CONTRACT, "spender.vy")
    equivalents.check(mutants)
    assert [mutant.change for mutant in mutants if equivalents.reason(mutant)] == ["break -> pass"]


def test_equivalents__no_such_mutant__is_refused(tmp_path):
    equivalents = Equivalents.load(listed(tmp_path, "continue -> pass", "It saves gas."))
    with pytest.raises(ValueError, match=r"no such mutant: spender\.vy spend continue -> pass"):
        equivalents.check(mutants_of(CONTRACT, "spender.vy"))


def test_equivalents__no_reason__is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"equivalent\.toml: spender\.vy spend break -> pass: must say why"):
        Equivalents.load(listed(tmp_path, "break -> pass", " "))


# --- Trials, in a process of their own that may fork ---

SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from mutants.mutator import mutants_of
from mutants.trial import Bench, Plan, TrialFault

root = Path(sys.argv[1])
bench = Bench.make(root, root.parent / "bench")
plan = Plan(("test_spender.py",), {"test_spender.py::test_limit": 0})
source = (root / "chain/contracts/spender.vy").read_text()
mutants = {mutant.change: mutant for mutant in mutants_of(source, "spender.vy")}
for change in (None, *sys.argv[2:]):
    verdict = bench.start(mutants.get(change), plan).result()
    print(verdict.outcome, verdict.test, list(verdict.seconds))
    if change:
        bench.clear(mutants[change])
try:
    bench.start(None, Plan(("test_missing.py",))).result()
except TrialFault as fault:
    print("fault", "not found" in str(fault))
"""
SPENDER_TESTS = """
from pathlib import Path
from vyper.compiler import compile_code
SOURCE = Path(__file__).with_name("chain") / "contracts" / "spender.vy"

def test_compiles():
    compile_code(SOURCE.read_text())

def test_limit():
    assert "amount <= limit" in SOURCE.read_text()
"""


def test_trial__mutants__are_killed_live_or_do_not_compile(tmp_path):
    tree = tmp_path / "tree"
    (tree / "chain" / "contracts").mkdir(parents=True)
    (tree / "chain" / "contracts" / "spender.vy").write_text(CONTRACT)
    (tree / "test_spender.py").write_text(SPENDER_TESTS)
    (tree / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-c", SCRIPT, str(tree), "<= -> <", "self.used += amount -> pass"]
    environment = {"PYTHONPATH": str(TESTS), "PATH": ""}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "survived  ['test_spender.py']",
        "killed test_spender.py::test_limit ['test_spender.py']",
        "survived  ['test_spender.py']",
        "fault True",
    ]
