"""The trial feed keeps Chainlink's contract, the trial token has six decimals and one minter."""

import boa

PRICE = 10**8


def test_post__owner__appends_rounds_from_one(world):
    assert world.post(2_100) == 2
    now = boa.env.timestamp
    assert world.feed.latestRoundData() == (2, 2_100 * PRICE, now, now, 2)
    assert world.feed.getRoundData(1)[1] == 2_000 * PRICE
    assert (world.feed.decimals(), world.feed.description()) == (8, "ETH / USD")


def test_post__negative_answer__is_taken(world):
    world.post(-1)
    assert world.feed.latestRoundData()[1] == -PRICE


def test_post__anyone_else__reverts(world):
    with boa.reverts("ownable: caller is not the owner"):
        world.feed.post(1, boa.env.timestamp, sender=world.seller)


def test_post__future__reverts(world):
    with boa.reverts("price_feed: update in the future"):
        world.feed.post(1, boa.env.timestamp + 1, sender=world.owner)


def test_post__before_the_last_round__reverts(world):
    with boa.reverts("price_feed: update before the last round"):
        world.feed.post(1, world.feed.latestRoundData()[3] - 1, sender=world.owner)


def test_post__time_zero__reverts(deployers):
    feed = deployers["price_feed"].deploy("X")
    with boa.reverts("price_feed: update at time zero"):
        feed.post(1, 0)


def test_rounds__missing__revert(world, deployers):
    for round_id in (0, 2):
        with boa.reverts("price_feed: no data present"):
            world.feed.getRoundData(round_id)
    with boa.reverts("price_feed: no data present"):
        deployers["price_feed"].deploy("X").latestRoundData()


def test_mint__owner__creates_six_decimal_tokens(world):
    world.token.mint(world.seller, 5, sender=world.owner)
    assert (world.token.balanceOf(world.seller), world.token.decimals()) == (5, 6)


def test_mint__anyone_else__reverts(world):
    with boa.reverts("erc20: access is denied"):
        world.token.mint(world.seller, 5, sender=world.seller)
