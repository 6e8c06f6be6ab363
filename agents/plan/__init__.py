"""The plan of a backup: pure, made from facts before anything is touched. Each choice carries its reason."""

from agents.plan.files import HotImpossible, escape_pattern
from agents.plan.making import make_plan
from agents.plan.plan import LeftOut, Moment, Part, Plan, PlannedSource
from agents.plan.requests import SourceRequest
from agents.plan.sources import find_ground

__all__ = [
    "HotImpossible",
    "LeftOut",
    "Moment",
    "Part",
    "Plan",
    "PlannedSource",
    "SourceRequest",
    "escape_pattern",
    "find_ground",
    "make_plan",
]
