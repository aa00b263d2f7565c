"""The words of the demo's support desk: what it sells, what goes wrong, what helps, and how people write."""

from dataclasses import dataclass

ELECTRIC = ("kettle", "toaster", "desk lamp", "heater")
GADGETS = ("speaker", "keyboard", "camera", "tablet")
GOODS = ("backpack", "suitcase", "tent", "chair")
PRODUCTS = ELECTRIC + GADGETS + GOODS


@dataclass(frozen=True)
class Problem:
    """One kind of trouble. A reply has its fix when a single sentence holds both marks."""

    name: str
    products: tuple[str, ...]
    phrases: tuple[str, ...]  # {x} is the customer's name for the product
    fixes: tuple[str, ...]  # imperatives, each holding both marks
    marks: tuple[str, str]


PROBLEMS = (
    Problem(
        "dead",
        ELECTRIC + GADGETS,
        ("{x} will not turn on", "{x} does not start any more", "{x} is completely dead"),
        ("hold the reset button for ten seconds", "press the reset button and wait ten seconds"),
        ("reset button", "ten seconds"),
    ),
    Problem(
        "noise",
        (*ELECTRIC, "speaker", "camera"),
        ("{x} makes a loud noise", "{x} rattles and hums all day", "there is a strange buzz from {x}"),
        ("tighten the two screws on the back", "turn it over and tighten the two screws"),
        ("tighten", "screws"),
    ),
    Problem(
        "heat",
        (*ELECTRIC, "tablet"),
        ("{x} gets far too hot", "{x} smells of burning", "I burned my hand on {x}"),
        ("unplug it and let it cool for an hour", "unplug it at once and let it cool down"),
        ("unplug", "cool"),
    ),
    Problem(
        "battery",
        GADGETS,
        ("the battery of {x} is empty within an hour", "{x} does not charge", "{x} loses power so quickly"),
        ("charge it overnight with the original cable", "use the original cable and charge it overnight"),
        ("overnight", "original cable"),
    ),
    Problem(
        "connection",
        GADGETS,
        ("{x} keeps losing the connection", "{x} will not connect to my phone", "my laptop cannot find {x}"),
        ("delete it from the device list and pair it again", "clear the device list and then pair it once more"),
        ("device list", "pair"),
    ),
    Problem(
        "frozen",
        GADGETS,
        ("{x} froze on the first screen", "{x} crashes every few minutes", "{x} has become terribly slow"),
        ("install the latest update from our website", "visit our website and install the latest update"),
        ("latest update", "website"),
    ),
    Problem(
        "stain",
        GOODS,
        ("{x} has a stain", "I spilled coffee on {x}", "there is mud all over {x}"),
        ("wash it by hand with cold water and soap", "use soap and cold water and wash it by hand"),
        ("cold water", "by hand"),
    ),
    Problem(
        "damage",
        GOODS,
        ("{x} arrived with a big scratch", "{x} was broken in the box", "one side of {x} is torn"),
        ("send us a photo and we will ship a new one", "take a photo of it and we will ship a new one"),
        ("photo", "new one"),
    ),
    Problem(
        "late",
        PRODUCTS,
        ("{x} has not arrived", "I am still waiting for {x}", "{x} should have been here on Monday"),
        ("check the tracking number on your receipt", "look at your receipt and follow the tracking number"),
        ("tracking number", "receipt"),
    ),
    Problem(
        "colour",
        PRODUCTS,
        ("{x} came in the wrong colour", "{x} is green and I ordered blue", "I do not like the colour of {x}"),
        ("exchange it for free within thirty days", "bring it to a shop within thirty days to exchange it"),
        ("exchange", "thirty days"),
    ),
    Problem(
        "payment",
        PRODUCTS,
        ("I paid twice for {x}", "my card was charged two times for {x}", "your bill for {x} is too high"),
        (
            "send us the bill and we will refund the second payment",
            "forward the bill for a refund of the second payment",
        ),
        ("refund", "second payment"),
    ),
    Problem(
        "cancel",
        PRODUCTS,
        ("I want to cancel my order of {x}", "I ordered {x} by mistake", "I no longer need {x}"),
        ("open your orders and press cancel before noon", "press cancel in your list of orders before noon"),
        ("press cancel", "before noon"),
    ),
    Problem(
        "warranty",
        PRODUCTS,
        ("is {x} still under warranty?", "how long is the warranty on {x}?", "do I have any warranty for {x}?"),
        ("count two years from the date of purchase", "take the date of purchase and add two years"),
        ("two years", "date of purchase"),
    ),
)

# How a customer writes.
SUBJECTS = (
    "my {p}",
    "my new {p}",
    "our {p}",
    "the {p} I bought last week",
    "the {p} from your shop",
    "the {p} I ordered in May",
    "the {p} my sister gave me",
    "the little {p}",
)
GREETINGS = ("", "", "Hi,", "Hello,", "Hi there,", "Good morning,", "Dear team,", "Excuse me,")
ASKS = (
    "",
    "What can I do?",
    "Can you help?",
    "Please advise.",
    "Any idea?",
    "What should I do now?",
    "I hope you can help me.",
    "What do you suggest?",
)

# How the desk answers. Good habits first.
OPENINGS_ABOUT = (
    "Sorry about the trouble with your {p}.",
    "Thank you for writing to us about your {p}.",
    "I am sorry to hear that about your {p}.",
    "Thanks for your message about the {p}.",
)
OPENINGS = ("Sorry to hear that.", "Thank you for your message.", "Thanks for asking.", "I am sorry about this.")
ADVICE = ("Please {fix}.", "You can {fix}.", "The best thing is to {fix}.", "In this case, {fix}.")
CLOSINGS = (
    "Let us know if you need anything else.",
    "Just write again if that does not help.",
    "We are happy to help if you have more questions.",
    "Feel free to reply at any time.",
)
# And bad ones.
MENTIONS = ("It is about the {p}.", "So, the {p}.", "We know the {p} well.")
RUDE = (
    "That is not our problem.",
    "Read the manual.",
    "Everybody knows that.",
    "You should have thought of that.",
    "Do not waste our time.",
)
VAGUE = (
    "Something may be wrong with it.",
    "It will surely work again soon.",
    "We will look into it at some point.",
    "Things like this happen.",
    "It is hard to say what to do.",
)
RAMBLE = (
    "Our shop opened in 1987 near the old station.",
    "My cousin had one of these and liked it for years.",
    "The weather has kept all of us busy this month.",
    "By the way, the shop cat is called Biscuit.",
    "We also sell garden chairs at ten percent off.",
    "Have you seen our big summer sale?",
    "People ask us such things nearly every day.",
    "I remember a customer from Leeds who said the same.",
)

GUIDELINES = """\
## What a good reply is

You read a customer's message to the support desk of a small shop, and two replies. Choose the one you would rather get.

1. **The right fix matters most.** A reply that says what really helps with *this* problem beats every friendly reply
   that does not; a wrong fix is worse than none.
2. **The right product.** It is good when the reply names the customer's product, and bad when it names another one.
3. **Courtesy.** It opens with thanks or with a word of regret, once. Rudeness weighs heavily.
4. **An offer at the end**, such as "write again if that does not help", is welcome.
5. **No rambling.** Sentences about the weather, the shop or the sale, empty phrases and repetitions are bad, and so is
   a reply that stops in the middle. Two to four short sentences are enough; longer is not better.

If you cannot tell them apart, call it a tie; if neither should ever be sent, say that both are bad.

### What helps with what

| the customer says | what helps |
|---|---|
"""
