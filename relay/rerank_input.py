"""What a body of `POST /v1/rerank` must be like (Jina's schema).

Not here: how documents are scored (the node's engines).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.errors import BadRequest
from relay.fields import is_integer, require

MOST_DOCUMENTS = 2048


def check_rerank(body: Mapping[str, Any]) -> None:
    """Raises BadRequest that names the field and the fix."""
    query = body.get("query")
    if query is None:
        raise BadRequest("You must provide a 'query'.", param="query", code="missing_query")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("'query' must be a string that is not empty.", param="query", code="invalid_query")
    _check_documents(body.get("documents"))
    require(body, "top_n", is_integer, "an integer")
    require(body, "top_n", lambda value: value >= 1, "at least 1")
    returned = body.get("return_documents")
    if returned is not None and not isinstance(returned, bool):
        raise BadRequest("'return_documents' must be true or false.", param="return_documents", code="invalid_type")
    if body.get("stream"):
        raise BadRequest("Rankings are not streamed; leave 'stream' out.", param="stream", code="invalid_value")


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """The documents' texts, of a body that was checked."""
    return [document if isinstance(document, str) else document["text"] for document in body["documents"]]


def _check_documents(documents: Any) -> None:
    if documents is None:
        raise BadRequest("You must provide 'documents'.", param="documents", code="missing_documents")
    if not isinstance(documents, list) or not documents:
        raise BadRequest("'documents' must be a list that is not empty.", param="documents", code="invalid_type")
    if len(documents) > MOST_DOCUMENTS:
        raise BadRequest(
            f"'documents' has {len(documents)} items, and {MOST_DOCUMENTS} is the limit; send several requests.",
            param="documents",
            code="too_many_documents",
        )
    for index, document in enumerate(documents):
        where = f"documents[{index}]"
        text = document.get("text") if isinstance(document, dict) else document
        if not isinstance(text, str):
            raise BadRequest(
                f"'{where}' must be a string, or an object with a 'text'.", param=where, code="invalid_type"
            )
        if not text.strip():
            raise BadRequest(f"'{where}' must not be empty.", param=where, code="empty_document")
