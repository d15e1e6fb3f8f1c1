"""Which llama-server flags an operator may pass on, and which the node sets itself or keeps off.

Not here: what the node passes (llama).
"""

from __future__ import annotations

from collections.abc import Sequence

_ADDRESS = "the node gives llama-server a private socket"
_WEIGHTS = "the model's uri says which weights are served"
_NAME = "the model's name and aliases are set in [node.models.NAME]"
_WHO = "--access says who may call"
_TLS = "llama-server is not on the network"
_CLOSED = "it would open to callers what a node keeps closed"
_TEMPLATE = "set template = 'auto', 'model' or 'chatml'"
_EXITS = "llama-server would print something and exit"
_DOWNLOAD = "it would download weights; name a file as the model's uri"
_LOGS = "the node reads llama-server's log"

_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_ADDRESS, ("--host", "--port", "--reuse-port", "--api-prefix", "--path", "--timeout", "-to")),
    (_WEIGHTS, ("--model", "-m", "--model-url", "-mu", "--docker-repo", "-dr", "--hf-repo", "-hf", "-hfr", "--hf-file",
                "-hff", "--hf-token", "-hft", "--models-dir", "--models-preset", "--models-max", "--models-autoload",
                "--no-models-autoload")),
    ("set projector = FILE",
     ("--mmproj", "-mm", "--mmproj-url", "-mmu", "--mmproj-auto")),
    (_DOWNLOAD, ("--spec-draft-hf", "-hfd", "-hfrd", "--hf-repo-draft")),
    (_NAME, ("--alias", "-a")),
    (_WHO, ("--api-key", "--api-key-file")),
    (_TLS, ("--ssl-key-file", "--ssl-cert-file")),
    (_CLOSED, ("--slots", "--no-slots", "--slot-save-path", "--props", "--tools", "--tools-runtime",
               "--mcp-servers-config", "--mcp-servers-json", "--agent", "-ag", "--no-agent", "-no-ag", "--ui",
               "--no-ui", "--webui", "--no-webui", "--ui-config", "--webui-config",
               "--ui-config-file", "--webui-config-file",
               "--ui-mcp-proxy", "--webui-mcp-proxy", "--no-ui-mcp-proxy", "--no-webui-mcp-proxy", "--media-path",
               "--video-ffmpeg-dir",
               "--cors-origins", "--cors-methods", "--cors-headers", "--cors-credentials", "--no-cors-credentials")),
    (_TEMPLATE, ("--chat-template", "--chat-template-file", "--jinja", "--no-jinja")),
    ("set context = TOKENS, per request", ("--ctx-size", "-c", "--kv-unified-per-slot", "--kv-unified", "-kvu",
                                                "--no-kv-unified", "-no-kvu")),
    ("set parallel = N", ("--parallel", "-np")),
    ("set threads = N", ("--threads", "-t")),
    ("set gpu_layers = N", ("--gpu-layers", "--n-gpu-layers", "-ngl")),
    ("set devices = ['NAME', ...]", ("--device", "-dev")),
    ("set split_mode = 'none', 'layer' or 'row'", ("--split-mode", "-sm")),
    ("set tensor_split = [3, 1]", ("--tensor-split", "-ts")),
    ("set main_gpu = N", ("--main-gpu", "-mg")),
    (_LOGS, ("--log-disable", "--log-file", "--log-jsonl", "--log-prompts-dir", "--log-colors")),
    (_EXITS, ("--help", "-h", "--usage", "--version", "--completion-bash", "--cache-list", "-cl", "--list-devices")),
    ("set kind = 'embedding'", ("--embedding", "--embeddings")),
    ("set rpc = ['HOST:PORT']", ("--rpc",)),
    ("set kind = 'rerank'", ("--rerank", "--reranking")),
)  # fmt: skip


def check_flags(flags: Sequence[str]) -> None:
    """Raises ValueError that names the first flag which cannot be passed on, and what to do instead."""
    why = {flag: reason for reason, refused in _REFUSED for flag in refused}
    for flag in flags:
        reason = why.get(_spelling(flag))
        if reason is not None:
            raise ValueError(f"{flag.partition('=')[0]} cannot be passed to llama-server: {reason}")


def _spelling(flag: str) -> str:
    """llama-server takes `--n_gpu_layers` for `--n-gpu-layers`."""
    name = flag.partition("=")[0]
    return name.replace("_", "-") if name.startswith("--") else name
