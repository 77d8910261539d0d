"""Pure functions that normalise names, addresses and household keys."""

import re
import unicodedata

# Direction marks, line-break marks, joiners, soft hyphens and byte-order marks. They are invisible and come with text
# copied from chats and web pages.
_INVISIBLE = re.compile(
    r"[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_UNUSUAL = re.compile(r"[^\S ]|  |[\uff01-\uff5e]|\S \S|^ | $")
_SPACES = re.compile(r"\s+")
_BREAKS = re.compile(r"[^\S\r\n]*[\r\n\u2028\u2029\x85]\s*")
_BETWEEN_HAN = re.compile(r"(?<=[\u2e80-\u9fff\U00020000-\U0003ffff]) +(?=[\u2e80-\u9fff\U00020000-\U0003ffff])")
_LATIN_ENDS = re.compile(r"[A-Za-z0-9.,]\Z")
_DASHES = re.compile(r"[\u2010-\u2015\u2212]")
_DOTS = re.compile(r"[\u2022\u2027\u22c5\u30fb\uff65.]")

_NOTHING = frozenset(
    "无 没有 无户号 无电话 无手机 不详 不明 不清楚 不知道 未知 未填 暂无 暂缺 待补 待定 待核实 空 空白"  # noqa: SIM905
    " 缺 n/a na none null nil".split()
)
PLACEHOLDERS = _NOTHING | {mark * times for mark in "/\\-—–.。*?0_~、|" for times in range(1, 5)}
"""What people type into a cell to say that it is empty, half-width and in lower case."""
_LONGEST_NOTHING = 8
_FIRST_OF_NOTHING = frozenset({word[0] for word in _NOTHING} | set("0０NｎＮ"))


def drop_invisible(text: str) -> str:
    """Remove invisible characters from a text."""
    return text if text.isprintable() else _INVISIBLE.sub("", text)


def is_placeholder(text: str) -> bool:
    """Return whether a cell only says that it is empty: 无, 不详, /, -, 0."""
    if not text or len(text) > _LONGEST_NOTHING or (text[0].isalnum() and text[0] not in _FIRST_OF_NOTHING):
        return False
    return text in PLACEHOLDERS or unicodedata.normalize("NFKC", text).strip().casefold() in PLACEHOLDERS


def spell_name(name: str) -> str:
    """Normalise a name: no spaces between Chinese characters, single spaces elsewhere, half-width Latin letters."""
    if not _UNUSUAL.search(name):
        return name
    name = _SPACES.sub(" ", drop_invisible(name).translate(_NARROW)).strip()
    return _BETWEEN_HAN.sub("", name)


def compared_name(name: str) -> str:
    """Return the form in which names are compared: without spaces, in lower case, and with one kind of dot."""
    return _DOTS.sub("·", _SPACES.sub("", spell_name(name))).casefold()


def spell_address(address: str) -> str:
    """Normalise an address to one line."""
    if address.isprintable() and "  " not in address:
        return address
    lines = _BREAKS.split(drop_invisible(address).strip())
    joined = lines[0]
    for line in lines[1:]:
        joined += (" " if _LATIN_ENDS.search(joined) and line[:1].isascii() and line[:1].isalpha() else "") + line
    return _SPACES.sub(" ", joined)


def spell_household(key: str) -> str:
    """Normalise a household key. Returns "" if it only says that there is none.

    １２０１ and 1201 are the same key. Leading zeros are kept, because 12 and 0012 can be two flats.
    """
    if key.isascii() and key.isalnum() and key[0] not in _FIRST_OF_NOTHING:
        return key
    if is_placeholder(key):
        return ""
    return _DASHES.sub("-", _SPACES.sub(" ", unicodedata.normalize("NFKC", drop_invisible(key))).strip())
