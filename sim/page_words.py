"""The words of the page for managers, in Chinese and English."""

from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["zh", "en"]

WORDS: Final[dict[str, tuple[str, str]]] = {
    "title": ("实验室仿真报告", "Laboratory simulation"),
    "lead": (
        "由仿真得出,不是检测结果。每个数字旁注明区间;区间为多次重复运行之间的95%置信区间。",
        "From simulation, not from measurement. Intervals are 95 % t-intervals over replications.",
    ),
    "made": ("生成时间(UTC)", "made at (UTC)"),
    "seed": ("随机种子", "seed"),
    "replications": ("重复次数", "replications"),
    "stopped": ("运行被提前中止,以下只含已完成的重复", "stopped early: only finished replications are shown"),
    "versions": ("版本", "versions"),
    "compared": ("方案比较", "Scenarios side by side"),
    "compared_note": (
        "差值为与第一个方案的配对差(相同随机数,同一份运气),括号内为95%区间;加粗表示区间不含0。",
        (
            "Differences are paired with the first scenario on the same luck (common random numbers), 95 % "
            "interval in brackets; bold where it leaves out 0."
        ),
    ),
    "unpaired": (
        "只有一次重复,无法给出差值的区间。",
        "With one replication a difference has no interval.",
    ),
    "shares": ("已完成比例(随时间)", "Share of tubes done, by turnaround"),
    "turnaround": ("周转时间分布", "Turnaround"),
    "hours_axis": ("小时(从样本到达实验室起)", "hours from arrival at the laboratory"),
    "done_in": ("{hours} 小时内 {share}", "{share} within {hours} h"),
    "within": ("{hours} 小时内完成", "done within {hours} h"),
    "on_time": ("按时率", "on time"),
    "by_hour": ("按到达时刻的按时率", "On time, by hour of arrival"),
    "hour_axis": ("到达时刻(小时)", "hour of arrival"),
    "over_time": ("各工位排队与利用率", "Queues and use over time"),
    "band_note": (
        "线为中位数,深色带为50%、浅色带为90%的重复运行。",
        "Line: median; dark band: half of the replications; pale band: 90 % of them.",
    ),
    "queue": ("{name}:排队({unit})", "{name}: queue ({unit}s)"),
    "used": ("{name}:利用率", "{name}: share of time on duty at work"),
    "time_goes": ("时间花在哪里", "Where the time goes"),
    "time_note": (
        (
            "一管样本依次经过每个工位一次的平均等待与操作时间;竖线为全部样本的平均周转时间"
            "(含复检、混检拆分、召回,以及不经审核自动放行的样本)。"
        ),
        (
            "One tube through every station once: mean wait and mean work. The line is the mean turnaround "
            "of all tubes, with retests, pools, call-backs, and those that need no review."
        ),
    ),
    "waiting": ("等待", "waiting"),
    "working": ("操作", "working"),
    "mean_tat": ("平均周转 {hours} 小时", "mean turnaround {hours} h"),
    "figures": ("主要数字", "Figures"),
    "warm_up": (
        (
            "连续运行的实验室:最初 {days} 天({tubes} 管)为预热期,已按 MSER 法则剔除,"
            "最后一天之后到达的也不计。板数、人均检测数和重采人次含全部天数;各工位随时间的图从空实验室开始。"
        ),
        (
            "A laboratory that never stands empty: its first {days} days ({tubes} tubes) are the warm-up, "
            "found by the MSER rule and left out; what came after its last day is left out too. Plates, "
            "tests and call-backs are of all days; the charts over time begin with the empty laboratory."
        ),
    ),
    "measure": ("指标", "measure"),
    "value": ("均值", "mean"),
    "interval": ("95%区间", "95 % interval"),
    "difference": ("差值", "difference"),
    "tubes": ("样本管数", "tubes"),
    "late": ("超时管数", "tubes late"),
    "p50": ("周转 P50(小时)", "turnaround P50, h"),
    "p90": ("周转 P90(小时)", "turnaround P90, h"),
    "p95": ("周转 P95(小时)", "turnaround P95, h"),
    "p99": ("周转 P99(小时)", "turnaround P99, h"),
    "max": ("最长(小时)", "longest, h"),
    "plates": ("板数", "plates"),
    "tests_per_person": ("人均检测数", "tests a person"),
    "recollections": ("重采人次", "persons re-collected"),
    "stations": ("工位", "Stations"),
    "station": ("工位", "station"),
    "use": ("利用率", "used"),
    "wait_mean": ("平均等待(小时)", "mean wait, h"),
    "wait_p95": ("等待 P95(小时)", "wait P95, h"),
    "work_mean": ("平均操作(小时)", "mean work, h"),
    "longest": ("最长队列", "longest queue"),
    "groups": ("按时效等级与采样方式", "By tier and mode"),
    "group": ("等级与方式", "tier and mode"),
    "inputs": ("输入与假设", "Inputs and assumptions"),
    "inputs_note": (
        (
            "情景文件原文。<mark class='assumed'>假设</mark>:{assumed} 行;"
            "<mark class='stated'>有来源或说明</mark>:{stated} 行。换成本实验室的时间戳后再据此决策。"
        ),
        (
            "The scenario file as it was read. <mark class='assumed'>Assumed</mark>: {assumed} lines; "
            "<mark class='stated'>with a source or a note</mark>: {stated} lines. "
            "Put in your own time stamps before you decide."
        ),
    ),
    "no_text": ("此情景没有原文。", "This scenario was not read from a file."),
    "download": ("下载表格(CSV,每次重复一行)", "Download as CSV, one row a replication"),
    "tube": ("管", "tube"),
    "plate": ("板", "plate"),
    "item": ("件", "item"),
    "day": ("第{n}天", "day {n}"),
    "hours": ("小时", "h"),
}
"""Key -> (Chinese, English)."""


NAMES: Final[dict[str, str]] = {
    "reception": "接收",
    "opening": "开盖加样",
    "extraction": "核酸提取",
    "set-up": "体系配制",
    "pcr": "扩增",
    "review": "审核",
    "re-reception": "重采接收",
    "fever": "发热门诊",
    "patient": "门诊住院",
    "yellow": "黄码",
    "voluntary": "愿检尽检",
    "region": "区域筛查",
    "single": "单采",
    "mixed": "混采",
    "re-collected": "重采",
    "laboratory": "实验室",
    "day": "白班",
    "evening": "中班",
    "night": "夜班",
}
"""Names that scenarios use -> Chinese."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key, with its values filled in."""
        text = WORDS[key][0 if self.language == "zh" else 1]
        return text.format(**values) if values else text

    def name(self, name: str) -> str:
        """The name of a station, or of a tier and mode, in this language where it is a usual one."""
        if self.language == "en":
            return name
        return " ".join(NAMES.get(part, part) for part in name.split(" "))
