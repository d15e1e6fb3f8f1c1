"""The demo weights with a chat template that has a form for calling tools and for thinking; their own has neither."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

# Calls stand as JSON within <tool_call></tool_call>, thoughts within <think></think>.
TEMPLATE = r"""
{%- if tools -%}
{{- '<|im_start|>system\nYou may call functions. Their signatures are within <tools></tools>:\n<tools>' -}}
{%- for tool in tools -%}{{- '\n' + (tool | tojson) -}}{%- endfor -%}
{{- '\n</tools>\nTo call one, write its name and arguments as JSON within <tool_call></tool_call>:\n' -}}
{{- '<tool_call>\n{"name": NAME, "arguments": ARGUMENTS}\n</tool_call><|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '<|im_start|>assistant\n' -}}
{%- if message.reasoning_content -%}
{{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' -}}
{%- endif -%}
{{- message.content or '' -}}
{%- for call in message.tool_calls or [] -%}
{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- (call.function.arguments if call.function.arguments is string else call.function.arguments | tojson) -}}
{{- '}\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- else -%}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


async def tool_weights(weights: Path, folder: Path) -> Path:
    """A GGUF of these weights with that template, written to `folder`."""
    template, made = folder / "tools.jinja", folder / "tools.gguf"
    template.write_text(TEMPLATE.strip())
    words = ("-m", "gguf.scripts.gguf_new_metadata", "--chat-template-file", str(template), str(weights), str(made))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    return made
