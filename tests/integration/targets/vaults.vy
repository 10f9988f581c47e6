# pragma version ~=0.4.3
"""
@title A protocol of vaults, each checked at every oracle round since its last update
@license GPL-3.0-only
@notice Its parameters belong to products, whose key is a hash of the asset and of put or call. An account is an
        owner and a number, and is known by its event alone. A lower spot shock asks for more collateral.
"""

event VaultOpened:
    owner: indexed(address)
    number: uint256
    collateral: uint256

struct Shocks:
    spot: uint256  # 1e27 is 1
    vol: uint128  # 1e18 is 1

struct Vault:
    collateral: uint256
    updated_round: uint256

_shocks: HashMap[bytes32, Shocks]
_vaults: HashMap[address, HashMap[uint256, Vault]]
_prices: HashMap[bytes32, HashMap[uint256, uint256]]
_latest: HashMap[bytes32, uint256]


@external
def set_shocks(product: bytes32, shocks: Shocks):
    self._shocks[product] = shocks


@external
@view
def shocks(product: bytes32) -> Shocks:
    return self._shocks[product]


@external
def post(asset: bytes32, price: uint256):
    self._latest[asset] += 1
    self._prices[asset][self._latest[asset]] = price


@external
@view
def latest_round(asset: bytes32) -> (uint256, uint256):
    return (self._prices[asset][self._latest[asset]], self._latest[asset])


@external
def open_vault(number: uint256, collateral: uint256, asset: bytes32):
    self._vaults[msg.sender][number] = Vault(collateral=collateral, updated_round=self._latest[asset])
    log VaultOpened(owner=msg.sender, number=number, collateral=collateral)


@external
def close_vault(number: uint256):
    self._vaults[msg.sender][number].collateral = 0


@external
@view
def vault(key: (address, uint256)) -> Vault:
    return self._vaults[key[0]][key[1]]


@external
@view
def surplus(owner: address, number: uint256, asset: bytes32, is_put: bool, round_id: uint256) -> int256:
    """
    @notice Collateral beyond price / shock, at one round
    """
    product: bytes32 = keccak256(abi_encode(asset, is_put))
    needed: uint256 = self._prices[asset][round_id] * 10**27 // self._shocks[product].spot
    return convert(self._vaults[owner][number].collateral, int256) - convert(needed, int256)
