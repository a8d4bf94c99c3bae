"""What a person looks at: report.json, report.html, map.png and the final table."""

from st_ray.report.palette import class_colours
from st_ray.report.pictures import false_colour, thinning
from st_ray.report.report import Report
from st_ray.report.sections import (
    Budget,
    ClassParts,
    ClassPixels,
    ClassScores,
    CurriculumSummary,
    DroppedBand,
    EpochSummary,
    PartCounts,
    SceneScores,
    SceneSummary,
    Scores,
    Seconds,
    SplitSummary,
    StageSummary,
)
from st_ray.report.summary import print_summary
from st_ray.report.write import write_report

__all__ = [
    "Budget",
    "ClassParts",
    "ClassPixels",
    "ClassScores",
    "CurriculumSummary",
    "DroppedBand",
    "EpochSummary",
    "PartCounts",
    "Report",
    "SceneScores",
    "SceneSummary",
    "Scores",
    "Seconds",
    "SplitSummary",
    "StageSummary",
    "class_colours",
    "false_colour",
    "print_summary",
    "thinning",
    "write_report",
]
