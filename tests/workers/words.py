"""What the tests have spoken, and how far what was heard is from it."""

from __future__ import annotations

import re

TEXT = (
    "The quick brown fox jumps over the lazy dog. Yesterday we went to the market and bought some bread, butter and "
    "apples. Tomorrow morning the train to the city leaves early from the main station."
)
SENTENCES = 3
# A minute of it, and nothing said twice: Whisper takes what repeats itself for a mistake, and tries again.
STORY = (
    "My grandfather was a farmer, and he kept forty sheep on a green hill above the river. In spring the young "
    "lambs ran around the old apple trees while my sister and I watched from the kitchen window. Every morning "
    "before school we carried fresh water to the animals and opened the gate. When summer came, the whole family "
    "worked in the fields until late in the evening. My father drove the tractor, my mother made sandwiches, and "
    "our neighbors helped us bring in the hay. One day a heavy storm came over the mountains and broke the roof "
    "of the barn. We had no money for a new one, so everybody in the village brought wood, nails and hammers. "
    "After three weeks the barn looked better than before. In autumn we sold wool and cheese at the market in "
    "town. With the money I bought my first bicycle, which was red and much too big for me. Winter was quiet and "
    "long. We sat close to the fire, listened to the radio, and waited for the snow to melt."
)
LONG = " ".join(f"This is sentence number {number}, and there are more of them to come." for number in range(1, 41))


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def word_error_rate(said: str, heard: str) -> float:
    """Insertions, deletions and substitutions over the number of words said (Levenshtein's distance)."""
    expected, found = words_of(said), words_of(heard)
    row = list(range(len(found) + 1))
    for index, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(found, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other)),
            )
    return row[-1] / len(expected)
