"""Faults of streams that have begun, one a row. To add one: a row here.

Not here: faults before the first token (early_rows).
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.reliability.cast import Step, do

CUT = 9  # tokens: in the midst of a word of the text

RESUMED: Mapping[str, Step] = {  # the rest comes from another node
    "reset": do("breaks", how="reset", at=CUT),
    "reset-after-one-token": do("breaks", how="reset", at=1),
    "reset-at-the-last-token": do("breaks", how="reset", at=1000),
    "closed": do("breaks", how="closed", at=CUT),
    "ended-without-a-reason": do("breaks", how="ended", at=CUT),
    "done-without-a-reason": do("breaks", how="done", at=CUT),
    "stalled": do("breaks", how="stalled", at=CUT),
    "half-an-event": do("breaks", how="half", at=CUT),
    "half-an-event-ended": do("breaks", how="half ended", at=CUT),
    "half-an-event-stalled": do("breaks", how="half stalled", at=CUT),
    "malformed": do("breaks", how="malformed", at=CUT),
    "html": do("breaks", how="not json", at=CUT),
    "no-object": do("breaks", how="no object", at=CUT),
    "no-choices": do("breaks", how="no choices", at=CUT),
    "utf8": do("breaks", how="utf8", at=CUT),
    "bad-chunk": do("breaks", how="bad chunk", at=CUT),
    "no-end-of-a-chunk": do("breaks", how="no chunk end", at=CUT),
    "endless-event": do("breaks", how="endless", at=CUT),
    "error": do("breaks", how="error", at=CUT),
    "error-as-text": do("breaks", how="error text", at=CUT),
    "error-as-an-object": do("breaks", how="error object", at=CUT),
    "error-as-a-named-event": do("breaks", how="error named", at=CUT),
    "comments-for-ever": do("breaks", how="muttering", at=CUT),
    "bytes-one-by-one": do("breaks", how="dripping", at=CUT),
    "error-line-of-llama": do("breaks", how="error line", at=CUT),
}

WHOLE: Mapping[str, Step] = {  # nothing but an end is missing: nobody else is asked
    "not-done-and-ended": do("breaks", how="ended", at="usage"),
    "not-done-and-closed": do("breaks", how="closed", at="usage"),
    "not-done-and-reset": do("breaks", how="reset", at="usage"),
    "not-done-and-kept-open": do("breaks", how="stalled", at="usage"),
    "no-usage-and-ended": do("breaks", how="ended", at="finish"),
    "no-usage-and-reset": do("breaks", how="reset", at="finish"),
    "no-usage-and-kept-open": do("breaks", how="stalled", at="finish"),
}

UNUSUAL: Mapping[str, Step] = {  # and right all the same
    "one-packet": do("fine", framing="one packet"),
    "byte-by-byte": do("fine", framing="bytes"),
    "straddling": do("fine", framing="straddling"),
    "crlf": do("fine", framing="crlf"),
    "no-space": do("fine", framing="no space"),
    "comments": do("fine", framing="comments"),
    "named": do("fine", framing="named"),
    "done-twice": do("fine", framing="two ends"),
    "escaped": do("fine", framing="escaped"),
    "four-tokens-a-chunk": do("fine", framing="in fours"),
    "finish-with-the-last": do("fine", framing="finish with the last"),
    "usage-null": do("fine", framing="usage null"),
    "empty-between": do("fine", framing="empty between"),
    "comments-first": do("comments", then="go on"),
    "interim-responses": do("interim"),
}
