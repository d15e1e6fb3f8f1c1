// Compiles registry/contract/Registry.sol, offline. Prints {file name: content}; with --write it refreshes
// those files, Registry.abi.json and Registry.bin.hex, beside the source instead.
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const folder = path.join(__dirname, "..", "..", "registry", "contract");
const input = {
  language: "Solidity",
  sources: { "Registry.sol": { content: fs.readFileSync(path.join(folder, "Registry.sol"), "utf8") } },
  settings: {
    evmVersion: "paris", // runs on chains without PUSH0 too
    optimizer: { enabled: true, runs: 1000000 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "Registry.sol": { Registry: ["abi", "evm.bytecode.object"] } },
  },
};

const output = JSON.parse(solc.compile(JSON.stringify(input)));
if (output.errors) {
  for (const error of output.errors) console.error(error.formattedMessage);
  process.exit(1);
}
const { abi, evm } = output.contracts["Registry.sol"].Registry;
const files = {
  "Registry.abi.json": JSON.stringify(abi, null, 2) + "\n",
  "Registry.bin.hex": evm.bytecode.object + "\n",
};
if (process.argv.includes("--write")) {
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), content);
} else {
  process.stdout.write(JSON.stringify(files));
}
