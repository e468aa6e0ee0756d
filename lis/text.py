"""The words that printed documents use, in Chinese and in English, side by side in one table."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

from lis.errors import Invalid

Language = Literal["zh", "en", "both"]

# Condition H of the FDA amendment letter of 2021-04-20 on pooled testing, word for word.
_LOW_LOAD_EN = (
    "Individual specimens with low viral loads may not be detected due to the decreased sensitivity "
    "or increased interference when tested with pooled testing."
)
_LOW_LOAD_ZH = "混合检测的灵敏度降低或干扰增加，病毒载量低的个体标本可能无法检出。"

# key: (Chinese, English)
WORDS: dict[str, tuple[str, str]] = {
    "title": ("新型冠状病毒核酸检测报告", "SARS-CoV-2 nucleic acid test report"),
    "name": ("姓名", "Name"),
    "document": ("证件", "Identity document"),
    "resident_id": ("居民身份证", "Resident identity card"),
    "passport": ("护照", "Passport"),
    "permit": ("通行证", "Travel permit"),
    "other": ("其他证件", "Other document"),
    "tube": ("采样管号", "Tube number"),
    "mode": ("检测方式", "Testing mode"),
    "mode.single": ("单管检测（1人1管）", "Single tube (1 person)"),
    "mode.mixed": ("混采检测（{n}人1管）", "Mixed at collection (n = {n} persons)"),
    "mode.pool": ("实验室混检（{n}管1池）", "Laboratory pool (n = {n} single tubes)"),
    "sampled": ("采样时间", "Sampled"),
    "received": ("接收时间", "Received"),
    "issued": ("报告时间", "Reported"),
    "unrecorded": ("未记录", "Not recorded"),
    "result": ("检测结果", "Result"),
    "negative": ("阴性", "Negative"),
    "positive": ("阳性", "Positive"),
    "inconclusive": ("不确定", "Inconclusive"),
    "invalid": ("无效", "Invalid"),
    "target": ("靶标 {name}", "Target {name}"),
    "undetected": ("未检出", "Not detected"),
    "method": (
        "方法：实时荧光RT-PCR；试剂：{assay}，版本 {version}",
        "Method: real-time RT-PCR; assay: {assay}, version {version}",
    ),
    "statement.mixed": (
        f"本结果来自混采检测：{{n}}人的拭子采集于同一支采样管（n = {{n}}）。{_LOW_LOAD_ZH}",
        f"Pooled testing was used: the swabs of {{n}} persons are in this tube (n = {{n}}). {_LOW_LOAD_EN}",
    ),
    "statement.pool": (
        f"本结果来自实验室混检：{{n}}支单管标本混合后一并检测（n = {{n}}）。{_LOW_LOAD_ZH}",
        f"Pooled testing was used: {{n}} single tubes were tested together (n = {{n}}). {_LOW_LOAD_EN}",
    ),
    "follow.mixed": (
        "本结果属于整支混采管，不代表个人结果：管内每位受检者须重新单管采样复核。",
        (
            "This result belongs to the tube as a whole and is not an individual result: "
            "every person in the tube needs a new single-tube specimen."
        ),
    ),
    "follow.pool": (
        "本结果属于整个混检池，不代表个人结果：池内各单管标本将逐一复检。",
        (
            "This result belongs to the pool as a whole and is not an individual result: "
            "every single tube of the pool is tested again by itself."
        ),
    ),
    "amended": ("更正报告：本报告更正原报告 {amends}", "Amended report: corrects report {amends}"),
    "reason": ("更正原因", "Reason"),
    "original": ("原报告结果", "Original result"),
    "signed": ("签发人", "Signed by"),
    "automatic": ("自动审核规则", "automatic verification"),
    "verify": ("扫码核验", "Scan to verify"),
    "answers": (
        "本报告仅对所接收的标本负责。",
        "This report answers only for the specimen received.",
    ),
    "report": ("报告编号", "Report"),
    "version": ("版本", "Version"),
    "seal": ("签章", "Seal"),
    "page": ("第{page}页／共{pages}页", "Page {page}/{pages}"),
    "missing": (
        "〓 代表本字体无法打印的字符：{codes}。请以系统记录为准。",
        "〓 stands for a character that the font cannot print: {codes}. The record holds the true text.",
    ),
    "sheet": ("加样工作单", "Plate work sheet"),
    "plate": ("板号", "Plate"),
    "assay": ("试剂", "Assay"),
    "template": ("模板", "Template"),
    "created": ("建板时间", "Created"),
    "kind.tube": ("单管 {count}", "Tube {count}"),
    "kind.pool": ("混检池 {count}", "Lab pool {count}"),
    "kind.mixed": ("混采管 {count}", "Mixed tube {count}"),
    "kind.control": ("质控 {count}", "Control {count}"),
    "kind.empty": ("空孔 {count}", "Empty {count}"),
    "batch": ("提取批 {number}：{name}（{count}孔）", "Extraction batch {number}: {name} ({count} wells)"),
    "pool_sheet": ("混检加样单", "Pool pipetting sheet"),
    "worklist": ("工作单号", "Worklist"),
    "aliquot": ("每管加样量", "From each tube"),
    "microlitres": ("{volume} µl", "{volume} µl"),
    "pools": ("混检池数", "Pools"),
    "pool_line": ("{count}管，共 {volume} µl", "{count} tubes, {volume} µl"),
    "pool_rule": (
        "每吸一管，扫混检管，再扫该单管；扫错即停。打勾栏供无扫码枪时使用。",
        (
            "After each aliquot scan the pool tube, then the single tube; stop at a wrong one. "
            "The boxes are for work without a scanner."
        ),
    ),
    "by": ("加样人", "Loaded by"),
    "checked": ("核对人", "Checked by"),
    "when": ("时间", "Time"),
}


def check_language(language: str) -> None:
    """Refuse a language in which nothing is printed.

    Raises:
        Invalid: ``LANGUAGE``.
    """
    if language not in get_args(Language):
        raise Invalid("LANGUAGE", f"Language {language!r} is not one of zh, en, both. Choose one of these.")


def parts(key: str, language: Language, **values: object) -> tuple[str, ...]:
    """The wording of ``key``: one text for ``zh`` or ``en``, both texts (Chinese first) for ``both``."""
    zh, en = (wording.format(**values) for wording in WORDS[key])
    return {"zh": (zh,), "en": (en,), "both": (zh, en)}[language]


def say(key: str, language: Language, gap: str = "  ", **values: object) -> str:
    """The wording of ``key`` on one line."""
    return gap.join(parts(key, language, **values))


@cache
def alphabet() -> frozenset[str]:
    """Every character that the table can print, braces of the place holders included."""
    return frozenset("".join(zh + en for zh, en in WORDS.values()))
