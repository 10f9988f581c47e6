"""A binding says what it means, and one that contradicts itself is refused with file, line, key and rule."""

from fractions import Fraction

import pytest
from bindings import RICH, SHIPPED, built, loaded, refused, replaced
from hypothesis import given
from hypothesis import strategies as st

from config.load import DEFAULT_SETTINGS, load_protocol
from config.protocol import exact_integer

BINDING = load_protocol("options_market", DEFAULT_SETTINGS)
MODEL_SCALES = [1, 10**4, 10**18, 10**27]


@pytest.fixture
def refusal(tmp_path):
    def refusal(*replacements: tuple[str, str], text: str = RICH) -> str:
        return refused(replaced(text, *replacements), tmp_path)

    return refusal


def line_of(piece: str, text: str = RICH) -> int:
    return next(number for number, line in enumerate(text.split("\n"), start=1) if piece in line)


# What it says


def test_binding__ids__are_positions_in_the_file():
    assert [BINDING.id_of(parameter.name) for parameter in BINDING.parameters] == [0, 1, 2, 3, 4, 5]


def test_binding__groups__are_whole_ascending_and_alone_without_a_name():
    assert [BINDING.group_of(index) for index in range(6)] == [(0, 1), (0, 1), (2,), (3, 4), (3, 4), (5,)]


def test_binding__two_parameters_without_a_group__are_not_coupled():
    loose = built(RICH, ('group = "ratios"\n', ""), ('group = "ratios"\n', ""))
    assert [loose.group_of(index) for index in range(4)] == [(0,), (1,), (2,), (3,)]


def test_binding__rich_file__loads_from_disk(tmp_path):
    assert loaded(RICH, tmp_path) == built()


def test_binding__parameter__is_reversible_unless_it_says_otherwise():
    assert [parameter.reversible for parameter in built().parameters] == [True, False, True, True]


# Scales


@pytest.mark.parametrize(
    ("written", "scale"),
    [("10_000", 10**4), ("1e4", 10**4), ("1e18", 10**18), ('"1e27"', 10**27), ("1e27", 10**27), ("2.5e1", 25)],
)
def test_scale__any_way_of_writing_it__is_exact(written, scale):
    assert built(RICH, ("scale = 1e27", f"scale = {written}")).parameters[0].scale == scale


@given(st.integers(0, 27), st.integers(1, 10**15 - 1))
def test_scale__float_of_at_most_15_digits__is_the_number_that_was_written(exponent, digits):
    assert exact_integer(float(f"{digits}e{exponent}")) == digits * 10**exponent


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0", "input should be greater than 0"),
        ("-1e4", "input should be greater than 0"),
        ("1.5", "must be a whole number of less than 256 bits"),
        ("inf", "must be a whole number of less than 256 bits"),
        ("nan", "must be a whole number of less than 256 bits"),
        ('"1e99999"', "must be a whole number of less than 256 bits"),
        ('"many"', "must be a whole number, such as 10_000, 1e18 or '1e27'"),
        ("1234567890123456789.0", "has more digits than such a number keeps"),
        ("true", "input should be a valid integer"),
        ("[1]", "input should be a valid integer"),
    ],
)
def test_scale__that_is_no_exact_number__is_told_with_its_line(refusal, written, said):
    message = refusal(("scale = 1e27", f"scale = {written}"))
    assert message.startswith(f"mine.toml:{line_of('scale = 1e27')}: parameters.0.scale = ")
    assert said in message


# Invariants


def test_invariants__shipped__compare_values_as_they_are():
    assert BINDING.inequalities() == ((4, 1, 3, 1),)


def test_invariants__of_real_values__become_exact_factors():
    assert built().inequalities() == ((0, 1, 1, 1_250_000_000), (2, 1, 3, 1))


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.sampled_from(MODEL_SCALES),
    st.sampled_from(MODEL_SCALES),
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**128 - 1),
)
def test_invariants__any_fraction_and_scales__hold_on_chain_exactly_when_they_hold_of_real_values(n, d, sa, sb, a, b):
    binding = built(
        RICH, ("ray * 0.8", f"ray * {n}/{d}"), ("scale = 1e27", f"scale = {sa}"), ('scale = "1e18"', f"scale = {sb}")
    )
    _, factor_a, _, factor_b = binding.inequalities()[0]
    assert (a * factor_a <= b * factor_b) == (Fraction(a, sa) * Fraction(n, d) <= Fraction(b, sb))
    assert max(a * factor_a, b * factor_b) < 2**256


@pytest.mark.parametrize(
    "invariant", ["a < b", "a <= b <= c", "a<=b", "", "ray * -1 <= wad", "ray * 1e3 <= wad", "0.8 * ray <= wad"]
)
def test_invariant__in_another_form__is_refused(refusal, invariant):
    message = refusal(("ray * 0.8 <= wad", invariant))
    assert "mine.toml:4: invariants.0 = " in message
    assert "string should match pattern" in message


@pytest.mark.parametrize(
    ("invariant", "rule"),
    [
        ("ghost <= wad", "there is no parameter ghost (ray, wad, count, days)"),
        ("wad <= ghost", "there is no parameter ghost (ray, wad, count, days)"),
        ("wad <= wad", "must compare two parameters"),
        ("ray * 1/0 <= wad", "must not divide by zero"),
        ("ray * 0 <= wad", "must not multiply by zero"),
        ("wad * 1e30 <= ray".replace("1e30", "1" + "0" * 30), "must be below 2^127"),
    ],
)
def test_invariant__that_the_chain_could_not_keep__is_refused(refusal, invariant, rule):
    message = refusal(("ray * 0.8 <= wad", invariant))
    assert message.startswith(f"mine.toml:4: invariants.0 = '{invariant}': ")
    assert rule in message


# Names, contracts, parameters


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "wad"', 'name = "ray"', "parameters = (list): names must be unique, repeated: ray"),
        ('"token", "oracle"]', '"token", "oracle", "risk"]', "contracts = (list): names must be unique"),
        ('name = "days"', 'name = "round"', "parameters.3.name = 'round': must not be one of account, auction"),
        ('contracts = ["risk", "token", "oracle"]', "contracts = []", "contracts = (list): list should have at least"),
        ('contract = "oracle", function = "days()"', 'contract = "x", function = "days()"', "parameters.3.getter.con"),
        ('[[limits]]\nname = "largest-ray"', '[[limits]]\nname = "l"\ncontract = "x"', "limits.0.contract = 'x': must"),
        ("[auctions]\nevent", '[auctions]\ncontract = "x"\nevent', "auctions.contract = 'x': must be one of contracts"),
        ('asset = "bytes32" }', 'asset = "string" }', "keys.asset = 'string': must be address, bool, an integer or"),
        ('asset = "bytes32" }', 'asset = "bytes33" }', "keys.asset = 'bytes33': 'bytes33' is not an ABI type"),
        ('tightening = "up"', 'tightening = "sideways"', "parameters.0.tightening = 'sideways': input should be"),
        ('group = "ratios"', 'role = "spot"', "parameters.0.role = 'spot': input should be"),
        ("word = 3", "word = 32", "parameters.0.getter.word = 32: input should be less than 32"),
        ("word = 3", "wrod = 3", "parameters.0.getter.wrod: unknown key (did you mean word?)"),
    ],
)
def test_binding__value_that_breaks_a_rule__is_told_with_its_line(refusal, old, new, said):
    message = refusal((old, new))
    assert message.startswith("mine.toml:")
    assert said in message


def test_binding__group_of_which_only_some_have_a_role__is_refused(refusal):
    message = refusal(('role = "spot_shock_down"\n', ""), text=SHIPPED)
    assert (
        "parameters.0 = (table): group shocks moves together, so all of its parameters need a role, or none" in message
    )


def test_binding__group_of_which_none_has_a_role__is_valid():
    built(SHIPPED, ('role = "maintenance_factor"\n', ""), ('role = "liquidation_threshold"\n', ""))


@pytest.mark.parametrize(
    ("written", "exact"), [("1", "1"), ("0.1", "0.1"), ("1e-18", "1e-18"), ("1_000.25", "1000.25")]
)
def test_offset__any_way_of_writing_it__is_exact(written, exact):
    role = 'role = "shocked_vol"\n'
    binding = built(SHIPPED, (role, f"{role}offset = {written}\n"))
    assert binding.parameters[2].origin == Fraction(exact) * 10_000


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("-1", "input should be greater than or equal to 0"),
        ("1e-19", "decimal input should have no more than 18 decimal places"),
        ("1e99", "decimal input should have no more than"),
        ("inf", "input should be a finite number"),
        ("nan", "input should be a finite number"),
        ("true", "input should be"),
        ('"1"', "input should be"),
    ],
)
def test_offset__no_real_value_of_any_use__is_refused(refusal, written, said):
    role = 'role = "shocked_vol"\n'
    message = refusal((role, f"{role}offset = {written}\n"), text=SHIPPED)
    assert message.startswith(f"mine.toml:{line_of(role[:-1], SHIPPED) + 1}: parameters.2.offset")
    assert said in message


def test_offset__without_a_role__is_refused(refusal):
    assert refusal(('group = "ratios"\nreversible', 'group = "ratios"\noffset = 1\nreversible')).endswith(
        "needs a role, whose ratio is added to it or taken from it"
    )


def test_offset__none_where_lower_is_tighter__is_refused_of_a_parameter_with_a_role(refusal):
    up, down = ('tightening = "up"\nrole = "shocked_vol"', 'tightening = "down"\nrole = "shocked_vol"')
    assert "parameters.2 = (table): needs an offset: where lower is tighter" in refusal((up, down), text=SHIPPED)
    assert built(SHIPPED, (up, down + "\noffset = 5")).parameters[2].origin == 50_000


def test_binding__two_parameters_that_read_the_same_word__are_refused(refusal):
    line = line_of("word = 1 }")
    assert refusal(("word = 1 }", "word = 3 }")) == (
        f"mine.toml:{line}: parameters.1.getter = (table): reads the same word as that of ray"
    )


def test_binding__several_mistakes__are_told_together(refusal):
    message = refusal(("count <= days", "x <= days"), ("$auction", "$x"))
    assert len(message.split("\n")) == 2
    assert f"mine.toml:{line_of('invariants')}: invariants.1 = 'x <= days': there is no parameter x" in message


# Functions and their arguments


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("get(uint256,bytes32)", "get", "parameters.0.getter.function = 'get': string should match pattern"),
        ("get(uint256,bytes32)", "get(uint,bytes32)", "getter.function = 'get(uint,bytes32)': write (uint256,bytes32)"),
        ("get(uint256,bytes32)", "get(uint257,bytes32)", "'(uint257,bytes32)' is not an ABI type"),
        ("get(uint256,bytes32)", "get(uint256", "getter.function = 'get(uint256': string should match pattern"),
        (
            "get(uint256,bytes32)",
            "get(uint256)",
            "parameters.0.getter.args = (list): the function takes 1 arguments, not",
        ),
        ('["$market.board", "$market.asset"]', '["$market.ghost", "$market.asset"]', "$market.ghost is not known here"),
        ('["$market.board", "$market.asset"]', '["$wad", "$market.asset"]', "$wad is not known here (known: $contract"),
        ('["$market.board", "$market.asset"]', '["$account", "$market.asset"]', "$account is not known here"),
        (
            '["$market.board", "$market.asset"]',
            '["$market.asset", "$market.asset"]',
            "is of type bytes32, the argument",
        ),
        ('["$market.board", "$market.asset"]', '["$market board", 0]', "$market board is not a name: $name or $name."),
        ('["$market.board", "$market.asset"]', "[1.5, 0]", "must be an integer, boolean, text, $name, list or"),
        ("args = [0, ", "args = [-1, ", "setters.1.args.0 = -1: does not fit uint256"),
        ("args = [0, ", "args = [true, ", "setters.1.args.0 = True: does not make a uint256"),
        ("args = [0, ", 'args = ["zero", ', "setters.1.args.0 = 'zero': does not make a uint256"),
        ("args = [0, ", "args = [[0], ", "setters.1.args.0 = (list): 1 items in a list do not make a uint256"),
        (
            '["$ray", "$wad"]',
            '["$ray"]',
            "setters.0.args.1 = (list): 1 items in a list do not make a (uint256,uint128)",
        ),
        ('["bytes32", "uint8"] }]', '["bytes32"] }]', "keccak has 2 items and 1 types"),
        ('["bytes32", "uint8"] }]', '["bytes32", "x"] }]', "'x' is not an ABI type"),
        (
            '["bytes32", "uint8"] }]',
            '["bytes32", "uint8"], pack = true }]',
            "unknown key pack (allowed: keccak, packed",
        ),
        ('keccak = ["$market.asset", 5]', "keccak = 5", "keccak and types must be lists, and packed a boolean"),
        ('types = ["bytes32", "uint8"]', 'types = "bytes32"', "keccak and types must be lists, and packed a boolean"),
        (', types = ["bytes32", "uint8"]', "", "keccak and types must be lists, and packed a boolean"),
        (
            '["bytes32", "uint8"] }]',
            '["bytes32", "uint8"], packed = 1 }]',
            "keccak and types must be lists, and packed",
        ),
        ('["$market.asset", 5]', '["$market.asset", 256]', "setters.0.args.2 = (table): does not fit uint8"),
        ('["$market.asset", 5]', '["$market.asset", "$wad"]', "$wad is a parameter: the steward puts its value into a"),
        (
            'keccak = ["$market.asset", 5]',
            'packed = true, keccak = ["$market.asset", "$wad"]',
            "$wad is a parameter: the steward puts its value into a word of its own, never into a hash",
        ),
        (
            '"$market.asset", 5], types = ["bytes32", "uint8"]',
            '{ keccak = ["$wad"], types = ["uint256"] }], types = ["bytes32"]',
            "setters.0.args.2 = (table): $wad is a parameter: the steward puts its value into a word of its own",
        ),
        ("(uint256,uint128),bytes32)", "(uint256,uint128),bytes4)", "a hash is a bytes32 or uint256, not bytes4"),
        ('args = ["$contract.token"]', 'args = ["0x00"]', "parameters.2.getter.args.0 = '0x00': must be an address"),
        ('args = ["$account.series"]', 'args = ["$account.feed"]', "accounts.lookups.1.args.0 = '$account.feed': $acc"),
        ('"$account.feed", "$round"]', '"$account.feed", "$rnd"]', "health.args.2 = '$rnd': $rnd is not known here"),
        ("(uint256,uint128)", "(uint256,bool)", "$wad is a parameter and fits an integer argument, not bool"),
    ],
)
def test_function__whose_arguments_do_not_fit__is_told_with_its_line(refusal, old, new, said):
    message = refusal((old, new))
    assert message.startswith("mine.toml:")
    assert said in message


def test_function__mistake_in_a_setter__has_the_line_of_its_arguments(refusal):
    assert refusal(("args = [0, ", "args = [-1, ")).startswith(
        f"mine.toml:{line_of('args = [0, ')}: setters.1.args.0 = "
    )


@pytest.mark.parametrize(("words", "fits"), [(3, True), (4, False)])
def test_getter__calldata_of_the_stewards_limit__is_the_longest(tmp_path, words, fits):
    call = f'days({",".join(["uint256"] * words)})", args = [{",".join(["1"] * words)}]'
    text = replaced(RICH, ('days()"', call))
    if fits:
        loaded(text, tmp_path)
    else:
        assert "parameters.3.getter.args = (list): the call takes 132 bytes, and the steward allows 100" in refused(
            text, tmp_path
        )


@pytest.mark.parametrize(("words", "fits"), [(12, True), (13, False)])
def test_setter__calldata_of_the_stewards_limit__is_the_longest(tmp_path, words, fits):
    extra = f'"set_one({",".join(["uint256"] * words)})"\nargs = [{",".join(["0"] * (words - 1))}, "$count"]'
    text = replaced(RICH, ('"set_one(uint256,uint256)"\nargs = [0, "$count"]', extra))
    if fits:
        loaded(text, tmp_path)
    else:
        assert "setters.1.args = (list): the call takes 420 bytes, and the steward allows 388" in refused(
            text, tmp_path
        )


@pytest.mark.parametrize(("words", "fits"), [(9, True), (10, False)])
def test_health__arguments_of_the_stewards_limit__are_the_longest(tmp_path, words, fits):
    more = words - 3
    text = replaced(
        RICH,
        ("surplus(uint256,", f"surplus({'uint256,' * more}uint256,"),
        ('args = ["$account", "$account.feed"', f'args = [{"1, " * more}"$account", "$account.feed"'),
    )
    if fits:
        loaded(text, tmp_path)
    else:
        assert "health.args = (list): the call takes 324 bytes, and the steward allows 292" in refused(text, tmp_path)


# Setters


def test_setters__parameter_that_none_writes__is_refused(refusal):
    message = refusal(('[0, "$count"]', '[0, "$days"]'))
    assert f"mine.toml:{line_of('[[parameters]]')}" not in message
    assert "parameters.2 = (table): parameter count must be written in exactly one place, not 0" in message
    assert "parameters.3 = (table): parameter days must be written in exactly one place, not 2" in message


def test_setters__one_that_writes_nothing__is_refused(refusal):
    assert "setters.1 = (table): writes no parameter" in refusal(('[0, "$count"]', "[0, 1]"))


def test_setters__parameter_written_twice_by_one_setter__is_refused(refusal):
    assert "days must be written in exactly one place, not 2" in refusal(('[1, "$days"]', '["$days", "$days"]'))


@pytest.mark.parametrize(("setters", "fits"), [(8, True), (9, False)])
def test_setters__as_many_as_a_policy_takes__are_the_most(tmp_path, setters, fits):
    head, tail = RICH.index("[[parameters]]"), RICH.index("[accounts.ids]")
    blocks = [
        f'[[parameters]]\nname = "p{n}"\nunit = "x"\nscale = 1\ntightening = "up"\n'
        f'getter = {{ function = "p()", word = {n} }}\n[[setters]]\nfunction = "set(uint256,uint256)"\n'
        f'args = [{n}, "$p{n}"]\n'
        for n in range(setters)
    ]
    text = replaced(RICH[:head] + "".join(blocks) + RICH[tail:], ('"ray * 0.8 <= wad", "count <= days"', ""))
    if fits:
        loaded(text, tmp_path)
    else:
        line = line_of("[[setters]]", text)
        assert refused(text, tmp_path) == f"mine.toml:{line}: setters = (list): 9 setters, and the steward takes 8"


# Accounts and health


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "[accounts.ids]\nlast",
            '[accounts.events]\nevent = "E(address a)"\naccount = "a"\n[accounts.ids]\nlast',
            "exactly one of view, ids and events finds the accounts",
        ),
        (
            "[accounts.ids]\nlast = {",
            '[accounts.ids]\ncount = { function = "n()" }\nlast = {',
            "accounts.ids = (table): exactly one of last, next and count says",
        ),
        (
            '[accounts.ids]\nlast = { contract = "token", function = "last_id()" }',
            "[accounts.ids]",
            "accounts.ids = (table): exactly one of last, next and count says",
        ),
        ('"bytes32 feed"', '"bytes32 series"', "accounts = (table): named values must be unique, repeated: series"),
        ('"bytes32 feed"', '"bytes feed"', "accounts.lookups.1.returns.0 = 'bytes feed': must be address, bool, an"),
        ('"bytes32 feed"', '"bytes32 feed x"', "must be a type, or a type and a name, such as 'uint256 strike'"),
        ('"bytes32 feed"', '"bytes32 9"', "'9' is not a name: letters, digits and _"),
        ('"uint256 since"', '"bool equity"', "accounts = (table): the value equity must be an integer, not bool"),
        ('"uint256 since"', '"uint8 liquidatable"', "the value liquidatable must be a bool, not uint8"),
        ('field = "state"', 'field = "stat"', "accounts.open.field = 'stat': is no named value of an account (state, "),
        ("equals = 1", "equals = 256", "accounts.open.equals = 256: does not fit uint8"),
        ("equals = 1", "not_equals = 256", "accounts.open.not_equals = 256: does not fit uint8"),
        ("equals = 1", "equals = 1\nnot_equals = 2", "accounts.open = (table): exactly one of equals and not_equals"),
        (
            'field = "state"\nequals = 1',
            'field = "state"',
            "accounts.open = (table): exactly one of equals and not_equ",
        ),
        ('liquidatable = "below"', 'liquidatable = "less"', "health.liquidatable = 'less': input should be 'true', 'f"),
        ('liquidatable = "below"', 'liquidatable = "true"', "health = (table): a threshold needs liquidatable = 'be"),
        ('threshold = "$account.floor"', 'threshold = "$account.feed"', "health.threshold = '$account.feed': $account"),
        ('first = "$account.since"', 'first = "$account.feed"', "health.rounds.first = '$account.feed': $account.feed"),
        ('first = "$account.since"', "first = -1", "health.rounds.first = -1: does not fit uint256"),
        ("max = 3", "max = 0", "health.rounds.max = 0: input should be greater than 0"),
        (
            'account = "account"\nid',
            'account = "ghost"\nid',
            "auctions = (table): the event has no field ghost whose value",
        ),
        ('id = "id"', 'id = "ghost"', "auctions = (table): the event has no field ghost whose value is one word"),
        ("uint256 indexed id", "uint256", "'uint256' is not a field: write 'type name' or 'type indexed name'"),
        ("uint256 account, uint256 debt", "uint256 account, uint256 id", "auctions.event = 'Started(uint256 indexed i"),
        ('"Started(', '"Started[', "must be an event with names, such as 'Opened(address indexed owner, uint256 id)'"),
    ],
)
def test_accounts__that_contradict_themselves__are_told_with_their_line(refusal, old, new, said):
    message = refusal((old, new))
    assert message.startswith("mine.toml:")
    assert said in message


def test_end_auction__without_auctions__is_refused(refusal):
    block = RICH[RICH.index("[auctions]") : RICH.index("[end_auction]")]
    message = refusal((block, ""))
    assert "end_auction = (table): needs [auctions], which says how auctions are found" in message


@pytest.mark.parametrize("member", ["address account", "int256 equity"])
def test_accounts_view__struct_without_an_account__is_refused(tmp_path, member):
    text = replaced(SHIPPED, (f'"{member}"', f'"{member.split()[0]}"'))
    if member.endswith("account"):
        assert "accounts.view = (table): one of returns must be called account" in refused(text, tmp_path)
    else:
        loaded(text, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("page = 256", "page = 0", "accounts.view.page = 0: input should be greater than 0"),
        ("page = 256", "page = 1025", "accounts.view.page = 1025: input should be less than or equal to 1024"),
        ('"accounts(uint256,uint256)"', '"accounts(uint256)"', "function must take first index and count, two uint256"),
    ],
)
def test_accounts_view__that_cannot_be_paged__is_told_with_its_line(refusal, old, new, said):
    message = refusal((old, new), text=SHIPPED)
    assert message.startswith("mine.toml:")
    assert said in message
