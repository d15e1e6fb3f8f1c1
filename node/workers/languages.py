"""The languages that Whisper models know: ISO-639-1 codes (a few have ISO-639-2 ones) and names, as OpenAI's API says
them. Not here: which of them a model knows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_TABLE = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian, bg bulgarian, bn bengali,
bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh, da danish, de german, el greek, en english,
es spanish, et estonian, eu basque, fa persian, fi finnish, fo faroese, fr french, gl galician, gu gujarati, ha hausa,
haw hawaiian, he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian, hy armenian, id indonesian,
is icelandic, it italian, ja japanese, jw javanese, ka georgian, kk kazakh, km khmer, kn kannada, ko korean, la latin,
lb luxembourgish, ln lingala, lo lao, lt lithuanian, lv latvian, mg malagasy, mi maori, mk macedonian, ml malayalam,
mn mongolian, mr marathi, ms malay, mt maltese, my myanmar, ne nepali, nl dutch, nn nynorsk, no norwegian, oc occitan,
pa punjabi, pl polish, ps pashto, pt portuguese, ro romanian, ru russian, sa sanskrit, sd sindhi, si sinhala,
sk slovak, sl slovenian, sn shona, so somali, sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil,
te telugu, tg tajik, th thai, tk turkmen, tl tagalog, tr turkish, tt tatar, uk ukrainian, ur urdu, uz uzbek,
vi vietnamese, yi yiddish, yo yoruba, zh chinese, yue cantonese
"""
_OTHER_NAMES = "my burmese, es castilian, nl flemish, ht haitian, jw javanese, zh mandarin, ro moldavian, ca valencian"


def _read(table: str) -> dict[str, str]:
    rows = (row.strip().partition(" ") for row in table.replace("\n", " ").split(","))
    return {code: name for code, _, name in rows}


NAMES: Mapping[str, str] = MappingProxyType(_read(_TABLE))
_CODES = {name: code for code, name in (*NAMES.items(), *_read(_OTHER_NAMES).items())}


def code_of(given: str) -> str | None:
    """Whisper's code for a code (`en`, `en-US`, `jv`) or an English name; None where it knows none."""
    word = given.strip().lower().replace("_", "-")
    if word in _CODES:
        return _CODES[word]
    code = word.partition("-")[0]
    return "jw" if code == "jv" else code if code in NAMES else None
