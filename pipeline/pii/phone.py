"""Telephone numbers, where the way they are written leaves little doubt.

Sources: ITU-T E.164 (at most 15 digits with the country code), E.123 (how numbers are written), the North American
Numbering Plan (area code and exchange start with 2 to 9).

Decisions: plain runs of digits are counts, dates, sizes and identifiers far more often than telephones; a number is
only taken for one when it

- starts with `+` and a country code (`+44 20 7946 0958`, `+14155550123`): 9 to 15 digits, ten or more when written
  without any separator, and exactly eleven from +1;
- is of the North American form with hyphens, dots or brackets: `212-555-0123`, `(212) 555-0123`, `1.212.555.0123`
  (three groups with mere spaces look like a table of numbers);
- is of the form of a Chinese mobile number, eleven digits from 13 to 19, directly behind a Chinese character or
  full-width colon or comma (`电话13971640927`);
- follows a word such as `phone`, `tel.`, `fax`, `mobile`, `call`, `电话`, `手机` and has 7 to 15 digits.

So national numbers of other countries without such a word are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pipeline.pii.detector import Detector

_GAP = r"[ .\-/\u00a0\u2010\u2011\u2013]"
_INTERNATIONAL = rf"(?<![A-Za-z0-9_+\-.,/=])\+[1-9](?:{_GAP}?(?:\([0-9]{{1,4}}\)|[0-9])){{6,14}}"
_NORTH_AMERICAN = (
    r"(?<![A-Za-z0-9_.,/+\-(])(?:1[-. ])?(?:\([2-9][0-9]{2}\)[ -]?|[2-9][0-9]{2}(?P<gap>[-.]))[2-9][0-9]{2}"
    r"(?(gap)(?P=gap)|[-. ])[0-9]{4}"
)
_CHINESE_MOBILE = r"(?<=[\u4e00-\u9fff\uff0c\uff1a])1[3-9][0-9]{9}"
# Not behind a digit and a gap: a word cannot stand between them, and a search from each digit would be slow.
_ANNOUNCED = rf"(?<![A-Za-z0-9_+])(?<![0-9)][ .\-/()])\(?[0-9](?:{_GAP}?(?:\([0-9]{{1,4}}\)|\)?[ ]?\(?[0-9])){{6,14}}"
_EXTENSION = r"(?:[ ]?(?:x|ext\.?)[ ]?[0-9]{1,6})?"
_END = r"(?![0-9A-Za-z_]|[-.,/][0-9])"
# The look-ahead settles most characters with one comparison.
_CANDIDATE = re.compile(
    rf"(?=[+(0-9])(?:(?P<international>{_INTERNATIONAL}{_EXTENSION}){_END}"
    rf"|(?P<american>{_NORTH_AMERICAN}{_EXTENSION}){_END}"
    rf"|(?P<chinese>{_CHINESE_MOBILE}){_END}"
    rf"|(?P<announced>{_ANNOUNCED}{_EXTENSION}){_END})"
)
_ANNOUNCEMENT = re.compile(
    r"(?:(?<![A-Za-z])(?:telephone|phone|tel|telefon|téléphone|teléfono|fax|mobile|mobil|cell|call|whatsapp|hotline)"
    r"(?:[ -](?:number|no|us|me|on|at)){0,2}|电话|電話|手机|手機|传真|傳真|热线|熱線)(?:号码|號碼|号)?"
    r"[ \t]{0,2}[.:：#]{0,2}\s{0,2}\Z",
    re.IGNORECASE,
)
_LOOK_BACK = 30
_MOST_DIGITS = 15
_FEWEST_ANNOUNCED = 7
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-./][0-9]{1,2}[-./][0-9]{1,2}\Z")


class Phone(Detector):
    """Telephone numbers in international or North American form, or after a word that announces one."""

    kind: ClassVar[str] = "phone"
    prefilter: ClassVar[str] = r"[0-9](?:[^0-9A-Za-z\n]{0,5}[0-9]){6}"

    placeholder: str = "<PHONE>"
    """What stands in the text instead of a number."""

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each number, from the `+` or the opening bracket."""
        position = 0
        while match := _CANDIDATE.search(text, position):
            form = match.lastgroup or ""
            number = re.split("[xe]", match[form])[0]
            before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
            if _is_number(form, number, before):
                yield match.span(form)
                position = match.end()
            else:
                # What is no number may have run into the start of one: go on behind its first group of digits.
                position = match.start() + 1
                while text[position : position + 1].isdigit():
                    position += 1


def _is_number(form: str, number: str, before: str) -> bool:
    digits = re.sub("[^0-9]", "", number)
    if len(set(digits)) == 1 or len(digits) > _MOST_DIGITS:
        return False
    if form == "international":
        fewest = 10 if number[1:].isdigit() else 9
        return len(digits) >= fewest and (digits[0] != "1" or _is_north_american(digits))
    return form != "announced" or (
        len(digits) >= _FEWEST_ANNOUNCED and not _DATE.match(number) and bool(_ANNOUNCEMENT.search(before))
    )


def _is_north_american(digits: str) -> bool:
    return len(digits) == 11 and digits[1] > "1" and digits[4] > "1"
