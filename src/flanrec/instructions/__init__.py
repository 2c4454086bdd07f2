"""Behaviour as natural-language instructions: task families, templates in words, rendering."""

from flanrec.instructions import tasks
from flanrec.instructions.families import FAMILIES, Family
from flanrec.instructions.loader import Templates
from flanrec.instructions.profiles import profile_text, taste_summary
from flanrec.instructions.render import Example, LeakError, render, render_all
from flanrec.instructions.tasks import Task
from flanrec.instructions.template import Template, Wording
from flanrec.instructions.template_files import LANGUAGES
from flanrec.instructions.text import clip_words, sanitise

__all__ = [
    "FAMILIES",
    "LANGUAGES",
    "Example",
    "Family",
    "LeakError",
    "Task",
    "Template",
    "Templates",
    "Wording",
    "clip_words",
    "profile_text",
    "render",
    "render_all",
    "sanitise",
    "tasks",
    "taste_summary",
]
