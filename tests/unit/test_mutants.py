"""Check what mutants are made of a contract, and that a trial tells a killed one from one that lives."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mutants.compiled import Compiled
from mutants.equivalents import Equivalents
from mutants.mutator import mutants_of
from mutants.session import Session
from mutants.trial import INVALID, KILLED, SURVIVED, Verdict
from vyper.compiler import compile_code

from chain import compiler

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


def test_reasons__refusal__are_what_the_contract_says_without_its_name():
    source = '@internal\ndef act(yes: bool):\n    assert yes, "spender: not so"\n    self._refuse("never", 1)\n'
    assert [mutant.reasons for mutant in mutants_of(source, "spender.vy")] == [("not so",), ("never",)]


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
    assert session.plan(function).killers == ("test_c", "test_b", "test_a")
    assert session.plan(module).killers == ("test_a", "test_c", "test_b")
    assert not session.plan(replace(module, file="other.vy")).killers


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
from mutants.bench import Bench, TrialFault
from mutants.mutator import mutants_of
from mutants.trial import Plan

root = Path(sys.argv[1])
source = (root / "chain/contracts/spender.vy").read_text()
mutants = {mutant.change: mutant for mutant in mutants_of(source, "spender.vy")}
forgets, allows = mutants["self.used += amount -> pass"], mutants["<= -> <"]
USED, LIMIT = "test_spender.py::test_used", "test_spender.py::test_limit"

bench = Bench.open(root, root.parent / "bench", ["test_spender.py"])
for mutant, plan in [
    (None, Plan()),
    (None, Plan(share=(1, 2))),
    (forgets, Plan()),
    (forgets, Plan(killers=(USED,))),
    (forgets, Plan(reasons=("above the limit",), killers=(USED,))),
    (forgets, Plan(seconds={LIMIT: 1.5, "test_spender.py::test_code": 2.5})),
    (replace(forgets, after="nothing("), Plan()),
    (allows, Plan()),
    (None, Plan()),
]:
    bench.start(mutant, plan)
    verdict = bench.result()
    print(verdict.outcome, *(test.removeprefix("test_spender.py::test_") for test in (*verdict.seconds, verdict.test)))
bench.close()
bench = Bench.open(root, root.parent / "other", ["test_missing.py"])
bench.start(None, Plan())
try:
    bench.result()
except TrialFault as fault:
    print("fault", "not found" in str(fault))
"""
COMPILER = """
from collections import namedtuple
CONTRACTS = ("spender",)
Artefact = namedtuple("Artefact", "name abi bytecode source_hash")

def _compile(name, source_hash):
    raise AssertionError("compiled a second time")

def compile_contract(name):
    return _compile(name, "")
"""
SPENDER_TESTS = """
from pathlib import Path
import boa
from chain.compiler import compile_contract
SOURCE = str(Path(__file__).with_name("chain") / "contracts" / "spender.vy")

def test_code():
    assert compile_contract("spender").bytecode == boa.load_partial(SOURCE).compiler_data.bytecode

def test_used():
    spender = boa.load(SOURCE)
    spender.spend(1, 2, 256)
    assert spender.spend(3, 3, 256) == 4

def test_limit():
    with boa.reverts("above the limit"):
        boa.load(SOURCE).spend(3, 2, 256)
"""


def test_bench__mutants__are_killed_live_or_do_not_compile(tmp_path):
    tree = tmp_path / "tree"
    (tree / "chain" / "contracts").mkdir(parents=True)
    (tree / "chain" / "contracts" / "spender.vy").write_text(CONTRACT)
    (tree / "chain" / "__init__.py").touch()
    (tree / "chain" / "compiler.py").write_text(COMPILER)
    (tree / "test_spender.py").write_text(SPENDER_TESTS)
    (tree / "pytest.ini").write_text("[pytest]\n")
    environment = {"PYTHONPATH": str(TESTS), "PATH": "", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, str(tree)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "survived code used limit ",
        "survived used ",
        "killed code used used",
        "killed used used",
        "killed limit used used",
        "killed used used",
        "invalid ",
        "killed code used used",
        "survived code used limit ",
        "fault True",
    ]


def test_artefact__of_a_contract__is_what_the_product_compiles():
    compiled = Compiled(compiler.SOURCES).artefact("price_feed", "a hash")
    assert compiled == compiler._compile("price_feed", "a hash")
