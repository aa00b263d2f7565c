"""Ready templates: projects as the field's best-known data sets were asked, to begin with and to change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_noop

from annotation.models import Kind
from annotation.questions import FLAGS, HIGHLIGHTS, REASONS


@dataclass(frozen=True)
class Template:
    name: str
    label: str
    text: str  # what it is for, in one sentence
    kind: Kind
    question: str
    guidelines: str
    questions: dict[str, Any] = field(default_factory=dict)
    overlap: int = 1

    def settings(self) -> dict[str, Any]:
        """What a project made from it begins with."""
        return {
            "kind": self.kind.value,
            "question": self.question,
            "questions": self.questions,
            "guidelines": self.guidelines,
            "overlap": self.overlap,
        }


def _compared(*aspects: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "label": label, "required": False} for name, label in aspects]


def _rated(*aspects: tuple[str, str, str, str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "label": label, "help": text, "low": low, "high": high, "required": True, "points": 5}
        for name, label, text, low, high in aspects
    ]


HELPFUL_AND_HARMLESS = Template(
    name="helpful-harmless",
    label=gettext_noop("Helpfulness and harmlessness pairs"),
    text=gettext_noop("Two replies in a conversation; which one helps more, and which one does less harm."),
    kind=Kind.PREFERENCE,
    question="Which reply would you rather have received?",
    questions={
        "aspects": _compared(("helpful", "Helpful"), ("honest", "Honest"), ("harmless", "Harmless")),
        "flags": [FLAGS[0], FLAGS[1] | {"reason": True}, FLAGS[2]],
    },
    guidelines="""Choose the reply you would rather have received, had you written the last message.

1. **Harm first.** A reply that helps somebody hurt themselves or others loses, however well it is written.
2. **Honest.** It says what it knows and what it does not. An invented fact weighs more than a missing one.
3. **Helpful.** It does what was asked, all of it, at a length that fits the question.

Declining is not a virtue in itself: refusing a harmless request is unhelpful. When both replies would do harm, choose
*Both bad* and say why. Longer is not better.
""",
)

HELPSTEER = Template(
    name="helpsteer",
    label=gettext_noop("Ratings in the style of HelpSteer"),
    text=gettext_noop("One reply on five scales of five points: helpful, correct, coherent, complex, verbose."),
    kind=Kind.RATING,
    question="How good is this reply?",
    questions={
        "aspects": _rated(
            ("helpfulness", "Helpfulness", "Is it useful for what was asked?", "Not at all", "Perfectly"),
            ("correctness", "Correctness", "Is it complete and without errors?", "Wrong", "Right"),
            ("coherence", "Coherence", "Is it clear and consistent?", "Confused", "Clear"),
            ("complexity", "Complexity", "What would it take to write it?", "Anybody could", "An expert"),
            ("verbosity", "Verbosity", "How much does it say for what was asked?", "Very terse", "Very wordy"),
        ),
        "highlights": HIGHLIGHTS,
    },
    guidelines="""Rate the reply as it stands, each scale by itself.

- **Helpfulness** is the overall use to the person who asked. **Correctness** is about facts: check every claim that
  somebody could act on. One serious error caps it at 2.
- **Coherence** is about the writing, not about the facts.
- **Complexity** and **verbosity** are not good or bad. They describe the reply: high complexity needs an expert to
  write, high verbosity says much for the question.

Highlight the words that cost or earned points; it helps whoever reads your ratings.
""",
    overlap=3,
)

SUMMARIES = Template(
    name="summaries",
    label=gettext_noop("Summary comparison"),
    text=gettext_noop("Two summaries of a text; which one tells a reader what matters, and nothing that is not there."),
    kind=Kind.PREFERENCE,
    question="Which summary is better?",
    questions={
        "aspects": _compared(("coverage", "Coverage"), ("accuracy", "Accuracy"), ("coherence", "Coherence")),
        "reasons": [
            {"name": "main_point", "label": "Has the main point"},
            {"name": "faithful", "label": "Adds nothing"},
            {"name": "reads_well", "label": "Reads well"},
            {"name": "concise", "label": "Shorter without loss"},
        ],
        "highlights": [
            {"name": "made_up", "label": "Not in the text", "tone": "bad"},
            {"name": "misleading", "label": "Misleading", "tone": "warn"},
            {"name": "good", "label": "Well put", "tone": "ok"},
        ],
    },
    guidelines="""Read the text first, then ask of each summary: would I know what matters, without reading the text?

- **Coverage**: the main point is there, and what a reader would miss.
- **Accuracy**: everything it says is in the text. Highlight what is not.
- **Coherence**: it reads well by itself.

A shorter summary that keeps the main point beats a longer one that adds only detail.
""",
)

DEMONSTRATIONS = Template(
    name="demonstrations",
    label=gettext_noop("Instruction demonstrations"),
    text=gettext_noop("People write the ideal answer to an instruction, from nothing or from a model's draft."),
    kind=Kind.DEMONSTRATION,
    question="Write the answer you would like to receive.",
    questions={"flags": FLAGS},
    guidelines="""Write the answer that you would be glad to get. A model will learn to write like you.

- **Do what is asked**, in the language and form it is asked in.
- **Be right.** Look up what you are not sure of. Say so where nobody can know.
- **Stop when it is done.** No preamble, no repetition of the question, no closing phrases.

Use a draft only when it is close; changing a poor one takes longer than writing.
""",
)

BEST_OF_FOUR = Template(
    name="best-of-four",
    label=gettext_noop("Best-of-four ranking"),
    text=gettext_noop("Four answers to one prompt put in order, ties allowed; six comparisons from one judgment."),
    kind=Kind.RANKING,
    question="Put the responses in order, best first.",
    questions={"reasons": REASONS, "tie": True},
    guidelines="""Put the answers in the order in which you would want to receive them.

1. Find the best one and the worst one first; then place the others between them.
2. Answers that you could not choose between share a place.
3. Judge what is said, not how long it is, and not which one you read first.
""",
)

TEMPLATES = {one.name: one for one in (HELPFUL_AND_HARMLESS, HELPSTEER, SUMMARIES, DEMONSTRATIONS, BEST_OF_FOUR)}
