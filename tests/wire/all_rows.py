"""All rows of all tables."""

from __future__ import annotations

from tests.wire import chunk_rows, head_rows, length_rows, line_rows

ROWS = (*length_rows.rows(), *chunk_rows.rows(), *head_rows.rows(), *line_rows.rows())
