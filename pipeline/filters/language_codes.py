"""The languages that lid.176 knows, and how people write their codes.

lid.176 labels are ISO 639-1 where such a code exists and ISO 639-3 or Wikipedia's own code elsewhere. ISO
639-3 is accepted for those with an ISO 639-1 code; macrolanguages and their main member (`cmn` for `zh`,
`arb` for `ar`) mean the same label. One code differs from ISO 639-3: `als` is Alemannic, as in Wikipedia, not
Tosk Albanian (`sq`).
"""

from __future__ import annotations

import difflib

_LABELS = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da
    de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id
    ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn
    mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa
    sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa
    war wuu xal xmf yi yo yue zh
"""
LABELS = frozenset(_LABELS.split())
"""Labels of lid.176, without the `__label__` in front."""

_PAIRS = """
    afr=af amh=am arg=an ara=ar arb=ar asm=as ava=av aze=az azj=az bak=ba bel=be bul=bg bih=bh ben=bn bod=bo bre=br
    bos=bs cat=ca che=ce cos=co ces=cs chv=cv cym=cy dan=da deu=de div=dv ell=el eng=en epo=eo spa=es est=et ekk=et
    eus=eu fas=fa pes=fa fin=fi fra=fr fry=fy gle=ga gla=gd glg=gl grn=gn guj=gu glv=gv heb=he hin=hi hrv=hr hat=ht
    hun=hu hye=hy ina=ia ind=id ile=ie ido=io isl=is ita=it jpn=ja jav=jv kat=ka kaz=kk khm=km kan=kn kor=ko kur=ku
    kmr=ku kom=kv cor=kw kir=ky lat=la ltz=lb lim=li lao=lo lit=lt lav=lv lvs=lv mlg=mg plt=mg mkd=mk mal=ml mon=mn
    khk=mn mar=mr msa=ms zsm=ms mlt=mt mya=my nep=ne npi=ne nld=nl nno=nn nor=no nob=no nb=no oci=oc ori=or ory=or
    oss=os pan=pa pol=pl pus=ps pbt=ps por=pt que=qu roh=rm ron=ro rus=ru san=sa srd=sc snd=sd hbs=sh sin=si slk=sk
    slv=sl som=so sqi=sq srp=sr sun=su swe=sv swa=sw swh=sw tam=ta tel=te tgk=tg tha=th tuk=tk tgl=tl fil=tl tur=tr
    tat=tt uig=ug ukr=uk urd=ur uzb=uz uzn=uz vie=vi vol=vo wln=wa yid=yi ydd=yi yor=yo zho=zh cmn=zh gsw=als
"""
_ISO_639_3 = dict(pair.split("=") for pair in _PAIRS.split())

_COUNTRIES = {
    "cn": "zh", "cz": "cs", "dk": "da", "ee": "et", "gr": "el", "ir": "fa", "jp": "ja", "kr": "ko", "rs":
    "sr", "se": "sv", "tw": "zh", "ua": "uk", "us": "en", "gb": "en", "vn": "vi", "at": "de",
}  # fmt: skip
"""Country codes that are often taken for language codes: only for the suggestion, never accepted."""


def label_of(code: str) -> str:
    """The label of lid.176 for an ISO 639-1 or 639-3 code.

    Raises:
        ValueError: lid.176 has no such language; the message suggests one.
    """
    lowered = code.strip().lower()
    if lowered in LABELS:
        return lowered
    if lowered in _ISO_639_3:
        return _ISO_639_3[lowered]
    near = [_COUNTRIES[lowered]] if lowered in _COUNTRIES else difflib.get_close_matches(lowered, _known(), 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"{code!r} is no language that lid.176 knows (ISO 639-1 or 639-3 code, such as en or eng){hint}")


def _known() -> list[str]:
    return sorted(LABELS | _ISO_639_3.keys())
