// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// An open board: anybody posts anything, and all of it stays in the chain's log.
///
/// Nothing here is believed: readers check the signatures inside the payload. The contract has no owner, no upgrade
/// and no storage; what is posted can be neither changed nor taken back.
contract Registry {
    /// A post of this size fits any node's transaction pool (128 KiB) and costs 2.6 million gas, far below the limit
    /// of a transaction (2^24). The largest text that can be signed is 64 KiB, and its compact form is smaller.
    uint256 public constant MAX_BYTES = 65536;

    /// The block before which nothing was posted: where a reader begins.
    uint256 public immutable since = block.number;

    /// kind: 1 advert, 2 revocation, 3 curation, 0 anything else.
    /// id: SHA-256 of the operator's address (with its 0x, lower case) followed by the node key for an advert, of the
    /// address alone for a revocation or a curation. Kind and id are the sender's claims, there to be filtered by.
    event Posted(uint8 indexed kind, bytes32 indexed id, address indexed sender, bytes payload);

    error TooLarge(uint256 size, uint256 max);

    function post(uint8 kind, bytes32 id, bytes calldata payload) external {
        if (payload.length > MAX_BYTES) revert TooLarge(payload.length, MAX_BYTES);
        emit Posted(kind, id, msg.sender, payload);
    }
}
