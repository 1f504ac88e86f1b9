"""Facts about writing systems that several stages need."""

UNSPACED = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
"""Characters of scripts that put no spaces between words (kana, Han, Thai, Lao, Burmese, Khmer), as ranges for a
character class of a regular expression."""
