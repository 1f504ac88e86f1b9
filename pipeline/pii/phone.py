"""Telephone numbers, where the way they are written leaves little doubt.

Sources: ITU-T E.164 (at most 15 digits with the country code), E.123 (how numbers are written), the North American
Numbering Plan (area code and exchange start with 2 to 9).

Decisions: plain runs of digits are counts, dates, sizes and identifiers far more often than telephones; a number is
only taken for one when it

- starts with `+` and a country code (`+44 20 7946 0958`, `+14155550123`): 9 to 15 digits, ten or more when written
  without any separator, and exactly eleven from +1;
- is of the North American form with hyphens, dots or brackets: `212-555-0123`, `(212) 555-0123`, `1.212.555.0123`
  (three groups with mere spaces look like a table of numbers);
- follows a word such as `phone`, `tel.`, `fax`, `mobile`, `call`, `电话`, `手机` and has 7 to 15 digits.

So national numbers of other countries without such a word are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pipeline.pii.detector import Detector

_GAP = r"(?:[ .\-/]|\u00a0|\u2010|\u2011|\u2013)"
_INTERNATIONAL = rf"(?<![\w+\-.,/=])\+[1-9](?:{_GAP}?(?:\([0-9]{{1,4}}\)|[0-9])){{6,14}}"
_NORTH_AMERICAN = (
    r"(?<![\w.,/+\-(])(?<![0-9] )(?:1[-. ])?(?:\([2-9][0-9]{2}\)[ -]?|[2-9][0-9]{2}(?P<gap>[-.]))[2-9][0-9]{2}"
    r"(?(gap)(?P=gap)|[-. ])[0-9]{4}"
)
_AFTER_WORD = (
    r"(?i:(?<![^\W_])(?:telephone|phone|tel|telefon|téléphone|teléfono|fax|mobile|mobil|cell|call|whatsapp|hotline)"
    r"(?:[ -](?:number|no|us|me|at))?|电话|電話|手机|手機|传真|傳真|热线|熱線)(?:号码|號碼|号)?[ \t]{0,2}[.:：#]?[ \t]{0,2}"
    rf"(?P<number>(?<![\w+])\(?[0-9](?:{_GAP}?(?:\([0-9]{{1,4}}\)|\)?[ ]?\(?[0-9])){{6,14}})"
)
_END = r"(?![0-9A-Za-z_]|[-.,/][0-9])"
_CANDIDATE = re.compile(
    rf"(?P<international>{_INTERNATIONAL}){_END}|(?P<american>{_NORTH_AMERICAN}){_END}|{_AFTER_WORD}{_END}"
)
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-./][0-9]{1,2}[-./][0-9]{1,2}\Z")


class Phone(Detector):
    """Telephone numbers in international or North American form, or after a word that announces one."""

    kind: ClassVar[str] = "phone"
    prefilter: ClassVar[str] = (
        r"[0-9](?:[ .\-/()]|\x{a0}|\x{2010}|\x{2011}|\x{2013}){0,4}[0-9](?:(?:[ .\-/()]|\x{a0}|\x{2010}|\x{2011}|\x{2013}){0,4}[0-9]){5}"
    )

    placeholder: str = "<PHONE>"
    """What stands in the text instead of a number."""

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each number, from the `+` or the opening bracket."""
        for match in _CANDIDATE.finditer(text):
            group = match.lastgroup if match.lastgroup != "gap" else "american"
            number = match[group or 0]
            digits = re.sub("[^0-9]", "", number)
            if group == "international":
                plain = number[1:].isdigit()
                found = (10 if plain else 9) <= len(digits) <= 15 and (digits[0] != "1" or _is_north_american(digits))
            else:
                found = group == "american" or (7 <= len(digits) <= 15 and not _DATE.match(number))
            if found and len(set(digits)) > 1:
                yield match.span(group or 0)


def _is_north_american(digits: str) -> bool:
    return len(digits) == 11 and digits[1] > "1" and digits[4] > "1"
