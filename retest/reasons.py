"""Every reason code with its sentence, in English and in Chinese."""

from collections.abc import Mapping
from typing import Final

_TYPED: Final[Mapping[str, tuple[str, str]]] = {
    # tubes mixed at collection: no individual tube exists
    "mixed-negative": (
        "Mixed tube negative: negative for every person in it.",
        "混采管阴性:管内所有人员均为阴性。",
    ),
    "mixed-positive": (
        "Mixed tube positive: hold every person and collect a single tube from each.",
        "混采管阳性:管内所有人员待复核,逐人重新采集单管。",
    ),
    "mixed-grey": (
        "Mixed tube in the grey zone, handled as positive: collect a single tube from each person.",
        "混采管处于灰区,按阳性管处理:逐人重新采集单管。",
    ),
    "mixed-single-target": (
        "Mixed tube with a single target, handled as positive: collect a single tube from each person.",
        "混采管单靶标阳性,按阳性管处理:逐人重新采集单管。",
    ),
    "mixed-inconclusive": (
        "Mixed tube inconclusive, handled as positive: collect a single tube from each person.",
        "混采管结果不确定,按阳性管处理:逐人重新采集单管。",
    ),
    "mixed-curve": (
        "Mixed tube whose number and curve disagree: collect a single tube from each person.",
        "混采管Ct值与扩增曲线不符:逐人重新采集单管。",
    ),
    "mixed-invalid": (
        "Mixed tube invalid: collect a single tube from each person.",
        "混采管检测无效:逐人重新采集单管。",
    ),
    "mixed-invalid-repeat": (
        "Mixed tube invalid: extract again from the same tube once, before the persons are called back.",
        "混采管检测无效:先从原管重新提取一次,暂不召回人员。",
    ),
    # pools mixed in the laboratory: the single tubes are kept
    "pool-negative": (
        "Laboratory pool negative: negative for every tube in it; the report says it was pooled.",
        "混检池阴性:池内各管均为阴性,报告须注明混检。",
    ),
    "pool-positive": (
        "Laboratory pool positive: test every retained tube singly.",
        "混检池阳性:逐管单独检测留存样本。",
    ),
    "pool-grey": (
        "Laboratory pool in the grey zone: test every retained tube singly.",
        "混检池处于灰区:逐管单独检测留存样本。",
    ),
    "pool-single-target": (
        "Laboratory pool with a single target: test every retained tube singly.",
        "混检池单靶标阳性:逐管单独检测留存样本。",
    ),
    "pool-inconclusive": (
        "Laboratory pool inconclusive: test every retained tube singly.",
        "混检池结果不确定:逐管单独检测留存样本。",
    ),
    "pool-curve": (
        "Laboratory pool whose number and curve disagree: test every retained tube singly.",
        "混检池Ct值与扩增曲线不符:逐管单独检测留存样本。",
    ),
    "pool-invalid": (
        "Laboratory pool invalid: test every retained tube singly.",
        "混检池检测无效:逐管单独检测留存样本。",
    ),
    "pool-no-material": (
        "Laboratory pool not negative and no retained tubes: collect a new specimen from each person.",
        "混检池非阴性且无留存样本:逐人重新采样。",
    ),
    # one person's tube
    "negative": ("Negative.", "阴性。"),
    "negative-on-repeat": (
        "Negative: the first reading was not confirmed by the repeat.",
        "阴性:复检未重现首次结果。",
    ),
    "negative-earlier-finding": (
        "This specimen is negative; an earlier specimen of the same person was not.",
        "本次样本阴性;同一人员此前样本曾有非阴性结果。",
    ),
    "positive": ("Positive.", "阳性。"),
    "positive-on-repeat": ("Positive: the repeat is positive.", "阳性:复检结果为阳性。"),
    "positive-confirm": (
        "Positive: confirm it once before it is reported.",
        "初筛阳性:报告前须复核一次。",
    ),
    "positive-grey-twice": (
        "Positive: in the grey zone twice, with an S-shaped curve on the repeat.",
        "阳性:重复检测仍在灰区,且有明显S形扩增曲线。",
    ),
    "negative-grey-twice": (
        "Negative: in the grey zone twice, without an S-shaped curve on the repeat.",
        "阴性:重复检测仍在灰区,但无明显S形扩增曲线。",
    ),
    "grey-curve-unknown": (
        "In the grey zone twice and no curve was judged: collect a new specimen.",
        "重复检测仍在灰区且无曲线判读:重新采样。",
    ),
    "positive-two-specimens": (
        "Positive: a single target in two specimens of the same person.",
        "阳性:同一人员两份样本均为单靶标阳性。",
    ),
    "grey": ("In the grey zone: not certain yet.", "结果处于灰区,尚不能判定。"),
    "single-target": ("Only a single target was detected: not certain yet.", "仅单靶标阳性,尚不能判定。"),
    "inconclusive": ("Inconclusive: not certain yet.", "结果不确定,尚不能判定。"),
    "curve": ("The number and the curve disagree.", "Ct值与扩增曲线不符。"),
    "invalid": ("Invalid: the test says nothing about this specimen.", "检测无效,不能说明样本情况。"),
    "contradictory": (
        "A positive and another result from the same specimen.",
        "同一样本既有阳性又有其他结果。",
    ),
    "no-material": (
        "Nothing is left of this specimen for the repeat: collect a new one.",
        "样本余量不足,无法复检:重新采样。",
    ),
    "repeats-used-up": (
        "The repeats gave no answer: collect a new specimen.",
        "复检后仍无明确结论:重新采样。",
    ),
    "specimens-used-up": (
        "Repeats and new specimens gave no answer: reported as it stands; refer the person.",
        "多次复检及重新采样仍无明确结论:按现有结果报告,建议转诊复核。",
    ),
    "repeats-ended": (
        "The repeats gave no answer and the rules ask for no further one: reported as it stands.",
        "复检后仍无明确结论,规则不再要求复检:按现有结果报告。",
    ),
    "contradictory-specimens": (
        "This specimen is negative, an earlier one was positive: collect a further one first.",
        "本次样本阴性而此前样本阳性:报告前须再次采样。",
    ),
    # evidence from outside the specimen
    "beside-strong": (
        "A signal beside a very strong positive, or extracted right after it: test again before concluding.",
        "相邻孔或前一个提取的样本为强阳性,信号可能来自污染:判定前须重新检测。",
    ),
    "lot-cluster": (
        "Single targets crowd in this reagent lot: test with another kit or lot before it is concluded.",
        "该批号试剂单靶标信号异常聚集:判定前须换用其他试剂或批号复检。",
    ),
    # end of isolation
    "discharge-met": (
        "The tests end the isolation.",
        "检测结果符合解除隔离条件。",
    ),
    "discharge-below": (
        "A target came before the limit: the count of tests begins anew.",
        "有靶标Ct值低于限值:须重新计算连续检测次数。",
    ),
    "discharge-no-test": (
        "No test that counts yet.",
        "尚无有效的解除隔离检测。",
    ),
    "discharge-too-soon": (
        "The tests so far are good; the next one may be taken from the time that is given.",
        "目前检测结果符合要求;须到规定时间后再次采样。",
    ),
    "discharge-too-few": (
        "The tests so far are good, but one more is needed.",
        "目前检测结果符合要求,但检测次数不足。",
    ),
    # controls
    "control-missing": (
        "A required control is missing. Load the file with it, or run again.",
        "缺少必需的质控。请补充含质控的文件,或重新检测。",
    ),
    "control-signal": (
        "A control that must show nothing shows a signal: contamination. Run again.",
        "应无扩增的质控出现信号:可能污染,须重新检测。",
    ),
    "control-no-signal": (
        "A control that must be detected is not. Check reagents and program, then run again.",
        "应检出的质控未检出:检查试剂和程序后重新检测。",
    ),
    "control-early": (
        "A control is detected too early. Check its dilution and contamination, then run again.",
        "质控Ct值过小:检查稀释和污染后重新检测。",
    ),
    "control-late": (
        "A control is detected too late. The reaction has lost sensitivity; run again.",
        "质控Ct值过大:反应灵敏度下降,须重新检测。",
    ),
    "control-target-missing": (
        "A control has no reading of one target. Load the complete file or run again.",
        "质控缺少一个靶标的读数:请导入完整文件或重新检测。",
    ),
    "control-unknown": (
        "The assay does not know this kind of control. Correct the plate map or the assay file.",
        "检测规则中没有此类质控:请更正板图或规则文件。",
    ),
    "control-batch-unknown": (
        "This control belongs to no extraction batch of the plate. Correct the plate map.",
        "该质控不属于本板任何提取批次:请更正板图。",
    ),
}

_WIDE: Final = str.maketrans({",": "\uff0c", ":": "\uff1a", ";": "\uff1b"})
"""Chinese is typed with narrow marks, which cannot be mistaken in source, and shown with wide ones."""

REASONS: Final[Mapping[str, tuple[str, str]]] = {
    code: (en, zh.translate(_WIDE)) for code, (en, zh) in _TYPED.items()
}
"""Reason code -> its sentence in English and in Chinese."""


def sentence(code: str) -> tuple[str, str]:
    """The English and the Chinese sentence of a reason code."""
    return REASONS[code]
