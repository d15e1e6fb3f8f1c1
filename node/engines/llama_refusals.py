"""Why llama-server does not start, from what it wrote: one line for the operator, with the file and the fix.

Only what a further start would not change is recognised. Not here: what it answers wrongly (llama_faults), and whether
it is started again (process).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from node.sizes.memory import MIB

_NO_RPC = "RPC not supported in this build"
_BAD_ARGUMENT = re.compile(r"error: invalid argument: .*|error while handling argument .*")
_FILE = re.compile(r"(?:failed to (?:load|create) ?_?(?:multimodal |context with )?model,?) '(?P<file>[^']+)'")
_GIVEN_UP = "exiting due to model loading error"
_LEVEL = re.compile(r"^[\d.]+ E (?:srv|cmn|main)? *(?:\w+: )*(?=\S)")
_UNKNOWN = "get another model or conversion, or name a newer llama.cpp with --llama-server"
_TEMPLATE, _OTHER_TEMPLATE = "its chat template cannot be used ({said})", "set template = 'chatml' in {table}"
# What it writes, what that means, and what to do. The first row that is found counts.
_FAULTS = (
    (re.compile(r"unknown model architecture: '[^']*'"), "this llama-server cannot load it ({said})", _UNKNOWN),
    (
        re.compile(r"CLIP cannot be used as main model"),
        "it is a projector, which lets a model see",
        "give the model as uri, and this file as projector",
    ),
    (
        re.compile(r"mismatch between [\w ]+ \(n_embd.*"),
        "it belongs to another model ({said})",
        "change projector in {table}",
    ),
    (
        re.compile(r"Failed to load CLIP model|unsupported projector type"),
        "it is no projector that this llama-server can load",
        "change projector in {table}",
    ),
    (
        re.compile(r"has invalid ggml type \d+|of type \d+ \(DEPRECATED\)"),
        "its quantization is not known to this llama-server",
        "get the model in another one",
    ),
    (
        re.compile(
            r"data is not within the file bounds|unexpectedly reached end of file|read error:.*"
            r"|tensor '[^']*' has offset .*|duplicate (?:key|tensor name) '[^']*'"
            r"|failed to read (?:magic|key-value pairs|tensor data|tensor info)"
        ),
        "it is cut short or damaged ({said})",
        "fetch it again",
    ),
    (
        re.compile(r"tensor '[^']*' (?:not found|has wrong shape; .*)|wrong number of tensors; .*|missing tensor .*"),
        "it lacks what its architecture needs ({said})",
        "fetch it again, or get another conversion of the model",
    ),
    (re.compile(r"common_chat_templates_init: error: (?P<said>.*)"), _TEMPLATE, _OTHER_TEMPLATE),
    (re.compile(r"Jinja Exception: .*"), _TEMPLATE, _OTHER_TEMPLATE),
    (re.compile(r"chat template parsing error: .*"), _TEMPLATE, _OTHER_TEMPLATE),
)
_NO_MEMORY = re.compile(
    r"failed to allocate (?P<where>\w+) buffer of size (?P<size>\d+)|unable to allocate \w+ buffer"
    r"|cudaMalloc failed: out of memory|CUDA error: out of memory|insufficient memory|std::bad_alloc"
    r"|Cannot allocate memory|mem_buffer != NULL"
)
_LESS = "set a smaller context or parallel in {table}, or serve a smaller model"
_ABORTED = re.compile(r"(?P<where>[^/\s]+:\d+): (?P<said>GGML_ASSERT\(.*\) failed|GGML_ABORT.*|fatal error)")


def refusal(lines: Sequence[str], model: str) -> str | None:
    """Why a llama-server that ended before it was ready would do so again; None where that cannot be told."""
    table = f"[node.models.{model}]"
    argument = next((line for line in lines if _BAD_ARGUMENT.fullmatch(line)), None)
    if argument is not None:
        return _bad_argument(argument, table)
    return _fault(lines, table) or _memory(lines, table) or _anything(lines)


def _bad_argument(said: str, table: str) -> str:
    if _NO_RPC in said:
        fix = f"build it with GGML_RPC=ON (make does), or drop rpc from {table}"
        return f"this llama-server was built without RPC workers; {fix}"
    return f"llama-server says '{said}'; change flags in {table}"


def _fault(lines: Sequence[str], table: str) -> str | None:
    for pattern, what, fix in _FAULTS:
        for line in lines:
            if found := pattern.search(line):
                said = found.groupdict().get("said", found[0])
                return f"{_named(lines)}{what.format(said=said.strip())}; {fix.format(table=table)}"
    return None


def _memory(lines: Sequence[str], table: str) -> str | None:
    found = [match for line in lines if (match := _NO_MEMORY.search(line))]
    if not found:
        return None
    asked = next((match for match in found if match["size"]), None)
    lack = f"{asked['where']} has no {int(asked['size']) / MIB:.0f} MiB left" if asked else found[0][0]
    return f"{_named(lines)}there is not enough memory to load it ({lack}); {_LESS.format(table=table)}"


def _anything(lines: Sequence[str]) -> str | None:
    """It gave up, or broke down, over something that is not known here."""
    for line in lines:
        if aborted := _ABORTED.search(line):
            return f"llama-server breaks down while it loads ({aborted[0].strip()}); {_UNKNOWN}"
    if not any(_GIVEN_UP in line for line in lines):
        return None
    why = next((_LEVEL.sub("", line) for line in lines if _LEVEL.search(line)), _GIVEN_UP)
    return f"{_named(lines)}this llama-server cannot load it ({why.strip()}); {_UNKNOWN}"


def _named(lines: Sequence[str]) -> str:
    """The file that it could not load, where it names one: of several the last, a projector after its model."""
    named = [found["file"] for line in lines if (found := _FILE.search(line))]
    return f"{named[-1]}: " if named else ""
