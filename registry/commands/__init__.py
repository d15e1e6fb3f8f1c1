"""`waypost key ...` and the writing half of `waypost registry ...`: one file a command, its options beside its body.

A body is `async def run_...(config) -> int`, the exit status; it prints to stdout and raises CommandError.
Not here: reading options (waypost), listing and judging what is on a board (gateway).
"""

from registry.commands.create import Create, run_create
from registry.commands.curate import Curate, run_curate
from registry.commands.delegate import Delegate, run_delegate
from registry.commands.failure import CommandError
from registry.commands.keyfiles import KeyNew, KeyShow, run_key_new, run_key_show
from registry.commands.post import Post, run_post
from registry.commands.retire import Retire, run_retire
from registry.commands.revoke import Revoke, run_revoke

__all__ = [
    "CommandError",
    "Create",
    "Curate",
    "Delegate",
    "KeyNew",
    "KeyShow",
    "Post",
    "Retire",
    "Revoke",
    "run_create",
    "run_curate",
    "run_delegate",
    "run_key_new",
    "run_key_show",
    "run_post",
    "run_retire",
    "run_revoke",
]
