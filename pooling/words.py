"""Reason codes of decoding and their sentences in English and Chinese."""

from collections.abc import Mapping

Words = Mapping[str, tuple[str, str]]
"""Code -> sentence in English, sentence in Chinese."""

MEMBER_WORDS: Words = {
    "POOL_NOT_READ": (
        "{tube}: the pool is not read yet. Wait.",
        "{tube}:混合管尚无结果,请等待。",
    ),
    "POOL_NEGATIVE": (
        "{tube}: negative by its pool. The report says that it was pooled.",
        "{tube}:随混合管判为阴性,报告须注明混合检测。",
    ),
    "MIXED_RECOLLECT": (
        "{tube}: the tube mixed at collection is not clearly negative. Hold the person, collect anew.",
        "{tube}:所在混采管非明确阴性,请暂时管控该人员并重新采集单管。",
    ),
    "MIXED_RE_EXTRACT": (
        "{tube}: the mixed tube is invalid and is extracted once more. Wait.",
        "{tube}:混采管结果无效,须重新提取一次,请等待。",
    ),
    "REFLEX": (
        "Tube {tube}: its pool is not clearly negative. Test it singly from the retained tube.",
        "试管 {tube}:所在混检管非明确阴性,请用原管单检。",
    ),
    "SHARED_TUBE": (
        "Tube {tube} is in two pools, so no pool clears it. Test it singly.",
        "试管 {tube} 同时在两个混检管中,不得据混检结果判定,请单检。",
    ),
    "SINGLE_POSITIVE": (
        "Tube {tube}: its own test is positive.",
        "试管 {tube}:单检阳性。",
    ),
    "SINGLE_NEGATIVE": (
        "Tube {tube}: its own test is negative.",
        "试管 {tube}:单检阴性。",
    ),
    "SINGLE_UNCLEAR": (
        "Tube {tube}: its own test is borderline or invalid. Repeat it as the assay's rules say.",
        "试管 {tube}:单检可疑或无效,按检测规则复检。",
    ),
    "MISSING": (
        "Tube {tube} cannot be found and must be tested singly. Search again, then re-collect the person.",
        "试管 {tube} 须单检但未找到,请再次查找,仍无则重新采样。",
    ),
    "LOW_VOLUME": (
        "Tube {tube} holds too little for a single test. Re-collect the person.",
        "试管 {tube} 余量不足以单检,请重新采样。",
    ),
    "WITHDRAWN": (
        "Tube {tube}: the person withdrew. Nothing is tested or reported; the tube stays in store.",
        "试管 {tube}:受检者已撤回,不再检测和报告,试管留存。",
    ),
    "HELD_FOR_RERUN": (
        "Tube {tube} is negative but its pool was not. Wait for the second aliquot of the pool.",
        "试管 {tube} 单检阴性而混检管非阴性,请等待混检管第二份复检。",
    ),
    "TEST_AGAIN": (
        "Tube {tube} is negative but its pool was not, twice. Test the tube singly once more.",
        "试管 {tube} 单检阴性而混检管两次非阴性,请再次单检。",
    ),
}

POOL_WORDS: Words = {
    "POOL_NOT_READ": ("Pool {tube} is not read yet.", "混合管 {tube} 尚无结果。"),
    "POOL_NEGATIVE": ("Tube {tube} is negative.", "混合管 {tube} 阴性。"),
    "MIXED_RE_EXTRACT": (
        "Tube {tube}, mixed at collection, is invalid. Extract it once more.",
        "混采管 {tube} 结果无效,请重新提取一次。",
    ),
    "MIXED_RECOLLECT": (
        "Tube {tube}, mixed at collection, is not clearly negative. Hold and re-collect every person.",
        "混采管 {tube} 非明确阴性,请暂时管控并重新采集全部人员单管。",
    ),
    "REFLEX_OPEN": (
        "Pool {tube} is not clearly negative. Its members are tested singly.",
        "混检管 {tube} 非明确阴性,成员正在单检。",
    ),
    "EXPLAINED_OPEN": (
        "Pool {tube} has a positive member; others are still open.",
        "混检管 {tube} 已有成员阳性,其余待结果。",
    ),
    "EXPLAINED": (
        "Pool {tube} is explained by a positive member.",
        "混检管 {tube} 已由阳性成员解释。",
    ),
    "INVALID_RESOLVED": (
        "Pool {tube} was invalid; its members are decided by their own tests.",
        "混检管 {tube} 无效,成员以单检结果为准。",
    ),
    "UNTESTED_MEMBER": (
        "Pool {tube} is not explained: all tested members are negative, one could not be tested. Keep it.",
        "混检管 {tube} 未获解释:已检成员均阴性,但有成员未能检测。请留存混检管。",
    ),
    "RERUN_SECOND": (
        "Pool {tube} is positive and all its members are negative. Re-run the second aliquot of the pool.",
        "混检管 {tube} 非阴性而成员均阴性,请复检混检管第二份。",
    ),
    "SECOND_NEGATIVE": (
        "Pool {tube} stays an unexplained positive; members and second aliquot are negative.",
        "混检管 {tube} 为未解释阳性:成员及第二份均阴性,首次检测疑似污染,须记录。",
    ),
    "SECOND_NOT_NEGATIVE": (
        "Pool {tube} stays an unexplained positive, the second aliquot clears nothing. Compare tubes.",
        "混检管 {tube} 为未解释阳性:第二份非阴性或已无余量,疑似换管或Ct值偏大,须由主管核对。",
    ),
}

OVERLAP_WORDS: Words = {
    "SHARED_TUBE": (
        "Tube {tube} is in the pools {pools}. Test it singly, whatever the pools read.",
        "试管 {tube} 同时在混检管 {pools} 中。一管只能入一个混检管:无论混检结果如何均须单检。",
    ),
}

_TABLES = {"member": MEMBER_WORDS, "pool": POOL_WORDS, "overlap": OVERLAP_WORDS}


def words(about: str, reason: str, **facts: str) -> tuple[str, str]:
    """The sentence of a reason in English and in Chinese."""
    english, chinese = _TABLES[about][reason]
    return english.format(**facts), chinese.format(**facts)
