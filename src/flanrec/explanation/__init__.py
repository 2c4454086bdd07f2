"""Why an item is recommended."""

from flanrec.explanation.occlusion import Explanation, Reason, explain

__all__ = ["Explanation", "Reason", "explain"]
