"""Policies that the registry does not store: sound records with one thing wrong, and the reason that it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine_messages import SIGNERS

if TYPE_CHECKING:
    from random import Random

    from machine_records import Records

Fault = Callable[["Random", "Records"], str]
"""Spoils records in place; returns the reason for which they are refused."""

YEAR, MONTH = 366 * 86_400, 30 * 86_400
SOMEONE = int(SIGNERS[0], 16)
PARAMETERS, READS, SETTERS, INVARIANTS = range(4)
TARGET, WORDS, WRITES, SOURCES = 0, 2, 3, 4
BUDGET, WINDOW, COOLDOWN, NOTICE = 128, 96, 64, 32
"""Lowest bits of what a rule's third word holds."""


def no_parameters(_random: Random, records: Records) -> str:
    """Tune nothing."""
    records.counts[PARAMETERS] = 0
    return "no parameters"


def too_many(random: Random, records: Records) -> str:
    """Say that there are more records than there can be."""
    index = random.choice((PARAMETERS, READS, SETTERS, INVARIANTS))
    records.counts[index] = (17, 17, 9, 17)[index]
    return f"too many {('parameters', 'reads', 'setters', 'invariants')[index]}"


def wrong_size(random: Random, records: Records) -> str:
    """Have a record more, or less, than the policy says."""
    if random.random() < 0.5:
        records.setters.pop()
    else:
        records.invariants.append([0, 1, 0, 1])
    return "wrong size"


def probation(random: Random, records: Records) -> str:
    """Prove a version at once, or never."""
    records.probation = random.choice((0, MONTH + 1))
    return "probation out of range"


def health(random: Random, records: Records) -> str:
    """Ask for health in a way that there is not, or someone who is no contract."""
    records.health_target, records.health_rule = random.choice(((SOMEONE, 1), (SOMEONE, 5), (SOMEONE, 32 << 8)))
    return "bad health rule"


def executor(_random: Random, records: Records) -> str:
    """Let someone make the calls who is no contract."""
    records.executor = SOMEONE
    return "bad executor"


def executor_as_target(_random: Random, records: Records) -> str:
    """Let the Safe call itself."""
    records.executor = records.setters[0][TARGET]
    return "target is the executor"


def no_address(random: Random, records: Records) -> str:
    """Name a signer that no address can be."""
    records.quorum[random.randrange(1, len(records.quorum))] |= 2**160
    return "signer is no address"


def disordered_signers(random: Random, records: Records) -> str:
    """Name a signer twice, or leave a gap."""
    index = random.randrange(1, len(records.quorum))
    if len(records.quorum) <= 16:
        records.quorum.insert(index, random.choice((0, records.quorum[index])))
    else:
        records.quorum[2] = records.quorum[1]
    return "signers not strictly ascending"


def threshold(random: Random, records: Records) -> str:
    """Ask for no signature, or for more than there are signers."""
    records.quorum[0] = random.choice((0, len(records.quorum), 2**255))
    return "threshold out of range"


def rules_beyond(_random: Random, records: Records) -> str:
    """Limit a parameter that there is not."""
    records.counts[PARAMETERS] -= 1
    return "rules beyond the last parameter"


def unused_bits(random: Random, records: Records) -> str:
    """Set a bit that means nothing."""
    index = _some(random, records)
    records.rules[3 * index + 2] |= 1 << random.randint(19, 31)
    return f"parameter {index}: unused bits set"


def unknown_read(random: Random, records: Records) -> str:
    """Read a parameter with a getter that there is not, or too far back in its answer."""
    index = _some(random, records)
    records.layout &= ~(0xFFFF << (16 * index))
    records.layout |= random.choice((records.counts[READS] << 8, 32)) << (16 * index)
    return f"parameter {index}: unknown read"


def corridor(random: Random, records: Records) -> str:
    """Draw a corridor that nothing fits in."""
    index = _some(random, records)
    low, high = records.rules[3 * index] >> 128, records.rules[3 * index] % 2**128
    records.rules[3 * index] = (high + 1) << 128 | high if high < 2**128 - 1 else high << 128 | low
    return f"parameter {index}: bad corridor"


def long(random: Random, records: Records) -> str:
    """Make something last for longer than a year."""
    index = _some(random, records)
    _put(records, index, random.choice((WINDOW, COOLDOWN, NOTICE)), YEAR + 60)
    return f"parameter {index}: longer than a year"


def seconds(random: Random, records: Records) -> str:
    """Let a window end within a minute."""
    index = _some(random, records)
    _put(records, index, WINDOW, 600 + random.randint(1, 59))
    return f"parameter {index}: window not in minutes"


def unknown_coupling(random: Random, records: Records) -> str:
    """Couple a parameter with one that there is not; where there are all, tune nothing."""
    index, number = _some(random, records), records.counts[PARAMETERS]
    if number == 16:
        return no_parameters(random, records)
    records.rules[3 * index + 2] |= 1 << random.randint(number, 15)
    return f"parameter {index}: unknown coupling"


def bad_read(random: Random, records: Records) -> str:
    """Ask someone who is no contract, or for nothing in particular."""
    index = random.randrange(len(records.reads))
    target, data = records.reads[index]
    records.reads[index] = random.choice(((SOMEONE, data), (target, data[:3])))
    return "bad read"


def bad_setter(random: Random, records: Records) -> str:
    """Call someone who is no contract, or with more words than there can be."""
    place, number = random.choice(((TARGET, SOMEONE), (WORDS, 13)))
    random.choice(records.setters)[place] = number
    return "bad setter"


def foreign_argument(random: Random, records: Records) -> str:
    """Pass on the value of a parameter that there is not."""
    random.choice(records.setters)[SOURCES] = random.choice((records.counts[PARAMETERS], 254))
    return "setter of unknown parameter"


def false_mask(random: Random, records: Records) -> str:
    """Claim to write what a setter does not, or the other way."""
    random.choice(records.setters)[WRITES] ^= 1 << _some(random, records)
    return "setter does not write what it says"


def two_setters(random: Random, records: Records) -> str:
    """Set a parameter with two calls."""
    if len(records.setters) < 8:
        records.counts[SETTERS] += 1
        records.setters.insert(0, list(random.choice(records.setters)))
    else:
        records.setters[0] = list(records.setters[1])
    return "parameter with two setters"


def no_setter(random: Random, records: Records) -> str:
    """Leave a parameter without a call that sets it."""
    records.counts[SETTERS] -= 1
    records.setters.pop(random.randrange(len(records.setters)))
    return "parameter without setter"


def invariant(random: Random, records: Records) -> str:
    """Demand an order of parameters that there are not, or with factors that do not work."""
    row, reason = random.choice(
        (
            ([0, 1, records.counts[PARAMETERS], 1], "of unknown parameter"),
            ([records.counts[PARAMETERS], 1, 0, 1], "of unknown parameter"),
            ([0, 0, 0, 1], "factor is zero"),
            ([0, 1, 0, 0], "factor is zero"),
            ([0, 2**127 + 1, 0, 1], "factor too large"),
            ([0, 1, 0, 2**127 + 1], "factor too large"),
        )
    )
    records.counts[INVARIANTS] += 1
    records.invariants.append(row)
    return f"invariant {reason}"


FAULTS: tuple[Fault, ...] = (
    no_parameters,
    *(too_many,) * 4,
    wrong_size,
    probation,
    health,
    executor,
    executor_as_target,
    no_address,
    disordered_signers,
    threshold,
    rules_beyond,
    unused_bits,
    unknown_read,
    corridor,
    long,
    seconds,
    unknown_coupling,
    bad_read,
    bad_setter,
    foreign_argument,
    false_mask,
    two_setters,
    no_setter,
    invariant,
    invariant,
)
"""Everything that can be wrong, in the registry's order."""


def _some(random: Random, records: Records) -> int:
    return random.randrange(records.counts[PARAMETERS])


def _put(records: Records, index: int, lowest: int, number: int) -> None:
    """Replace 32 bits of a rule's third word."""
    word = records.rules[3 * index + 2]
    records.rules[3 * index + 2] = word & ~(0xFFFFFFFF << lowest) | number << lowest
