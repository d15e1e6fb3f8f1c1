"""The board on an Ethereum-style chain: the only package that knows one. The contract is in `registry/contract/`."""

from registry.evm.board import EvmBackend
from registry.evm.deploy import deploy

__all__ = ["EvmBackend", "deploy"]
