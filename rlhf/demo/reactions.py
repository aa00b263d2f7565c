"""What customers say to a reply: one thing that struck them, in the conversations from which the base model learns.

The records of any desk hold such words. A model that has learnt to expect them knows at the end of a reply what there
is to say about it, and a reward model needs fewer judgements than one that starts from texts which end there.
"""

import random
from collections.abc import Iterator

from rlhf.demo.utility import Prompt, case_of, explain

FIX, NOTE, ASIDE = 3.0, 2.0, 1.0  # how readily people speak of it

HELPED = ("That worked.", "It works again, just as you said.")
WRONG = ("That did not help at all.", "I tried it, and nothing changed.")
NO_ADVICE = ("You have not told me what to do.", "So what should I do?")
RUDE = ("There is no need to be rude.", "What a way to talk to a customer.")
OTHER_PRODUCT = ("But I asked about my {p}.", "It is the {p} that I wrote about.")
OWN_PRODUCT = ("Yes, the {p}.", "I see you know which one I mean.")
IDLE = ("Please come to the point next time.", "That was a lot of words.")
UNFINISHED = ("Your message breaks off.", "The end of your message is missing.")
COURTEOUS = ("How kind of you.", "You are very polite.")
CURT = ("A kind word would have been nice.", "That was rather short.")
WELCOME = ("I will write again if I have to.", "It is good to know that I may ask again.")
NO_OFFER = ("May I ask again?", "Can I write again?")
NOTHING = ("Okay.", "I see.")


def reaction(prompt: Prompt, reply: str, rng: random.Random) -> str:
    """A sentence of the customer's about one side of `reply`, drawn by how readily people speak of it."""
    weights, texts = zip(*_noticed(prompt, reply), strict=True)
    (chosen,) = rng.choices(texts, weights)
    return rng.choice(chosen).format(p=case_of(prompt).product)


def _noticed(prompt: Prompt, reply: str) -> Iterator[tuple[float, tuple[str, ...]]]:
    parts = explain(prompt, reply)
    yield ASIDE, NOTHING
    if parts["wrong_fix"]:
        yield FIX, WRONG
    else:
        yield FIX, HELPED if parts["fix"] > 2 else NO_ADVICE
    if parts["rudeness"]:
        yield FIX, RUDE
    if parts["product"]:
        yield NOTE, OWN_PRODUCT if parts["product"] > 0 else OTHER_PRODUCT
    if parts["idle"]:
        yield -parts["idle"] * NOTE, IDLE
    if parts["ending"] or parts["repetition"] < -1:
        yield NOTE, UNFINISHED
    yield ASIDE, COURTEOUS if parts["courtesy"] else CURT
    yield ASIDE, WELCOME if parts["offer"] else NO_OFFER
