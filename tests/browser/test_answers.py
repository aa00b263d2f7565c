"""What an answer can carry beside the verdict: highlights, reasons, a better text, thumbs, ratings by turn."""

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Annotation, Assignment, Project, User
from tests import factories
from tests.browser.conftest import Open, ready, task_on

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = ["Water is **heavier** 🛢 than `oil`.", "- Oil floats\n- Oil &amp; water do not mix"]


def start(kind: str = "preference", texts: list[str] = TEXTS, **fields: object) -> tuple[Project, User]:
    project = factories.project(kind=kind, **fields)
    for _ in range(2):
        factories.task(project, responses=texts[:1] if kind == "rating" else texts)
    return project, factories.member(project, "annotator")


def opened(open_page: Open, project: Project, person: User, **options: bool) -> Page:
    page = open_page(person, f"/projects/{project.slug}/work/", **options)
    ready(page)
    return page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def judged(page: Page) -> Annotation:
    expect(page.locator("#saved")).to_contain_text("1 saved")
    return Annotation.objects.select_related("task").get()


def test_words_are_highlighted_by_keys_and_kept_as_offsets_of_the_text_as_sent(open_page: Open) -> None:
    project, person = start()
    page = opened(open_page, project, person)
    press(page, "[", "h")
    expect(page.locator("#reason")).to_be_visible()
    press(page, "ArrowRight", "ArrowRight", "Shift+ArrowRight", "1")
    expect(page.locator("#say")).to_contain_text("Highlighted as Wrong")
    press(page, "]", "h", "ArrowDown", "4")
    expect(page.locator("[data-spans-count]").first).to_have_text("2")
    expect(page.locator("#saved")).to_have_text("Draft saved")
    page.reload()
    expect(page.locator("[data-spans-count]").first).to_have_text("2")
    page.wait_for_timeout(320)
    press(page, "2")
    answer = judged(page)
    texts = dict(answer.task.responses.values_list("pk", "text"))
    spans = answer.body["highlights"]
    assert [span["response"] for span in spans] == answer.shown
    assert [span["reason"] for span in spans] == ["wrong", "good"]
    assert all(texts[span["response"]][span["start"] : span["end"]] == span["text"] for span in spans)
    wanted = {TEXTS[0]: "heavier** 🛢", TEXTS[1]: "Oil floats"}
    assert all(span["text"] in (text := texts[span["response"]]) and text in wanted for span in spans)


def test_a_selection_by_mouse_offers_the_reasons_and_a_highlight_can_be_removed(open_page: Open) -> None:
    project, person = start("rating")
    page = opened(open_page, project, person)
    page.locator(".rendered strong").dblclick()
    page.get_by_role("button", name="Unsupported").click()
    expect(page.locator("[data-spans] .tag")).to_have_text("Unsupported")
    assert page.evaluate("CSS.highlights.get('span-warn').size") == 1
    page.get_by_role("button", name="Remove highlight 1").click()
    expect(page.locator("[data-spans-count]")).to_have_text("0")
    page.locator("#raw").check(force=True)
    page.locator(".raw").dblclick(position={"x": 30, "y": 10})
    press(page, "h", "4")
    press(page, *"5555", "Enter")
    span = judged(page).body["highlights"][0]
    assert (span["start"], span["text"]) == (0, "Water")


def test_a_long_plain_response_can_be_highlighted_at_its_end(open_page: Open) -> None:
    long = "\n".join(f"Line {number} of a text that is far too long to be rendered." for number in range(1900))
    project, person = start(texts=[long, long.replace("far", "much")])
    page = opened(open_page, project, person)
    expect(page.locator(".resp mark").first).to_be_attached()
    node = "document.querySelector('.rendered pre').lastChild"
    page.evaluate(f"getSelection().setBaseAndExtent({node}, {node}.length - 9, {node}, {node}.length - 1)")
    press(page, "h", "1", "7")
    answer = judged(page)
    span = answer.body["highlights"][0]
    whole = answer.task.responses.get(pk=span["response"]).text
    assert (span["text"], span["end"]) == ("rendered", len(whole) - 1)


def test_a_quick_reason_takes_two_keys_and_enter_in_the_field_submits(open_page: Open) -> None:
    project, person = start(questions={"rationale": "required"})
    page = opened(open_page, project, person)
    press(page, "2")
    expect(page.locator("#problems")).to_contain_text("Say why")
    press(page, "Escape", "r", "3", "r", "r")
    page.keyboard.type("and it is right")
    press(page, "Enter")
    answer = judged(page)
    assert (answer.body["reasons"], answer.body["rationale"]) == (["follows"], "and it is right")
    assert not Assignment.objects.filter(state="skipped").exists()


def test_a_flag_that_asks_for_a_reason_waits_for_one(open_page: Open) -> None:
    flags = [{"name": "unsafe", "label": "Unsafe", "reason": True}]
    project, person = start(questions={"flags": flags})
    page = opened(open_page, project, person)
    press(page, "x", "6")
    expect(page.locator("#submit-label")).to_have_text("Say why")
    page.locator("#rationale").fill("Poison.")
    press(page, "Enter")
    assert judged(page).body["flags"] == ["unsafe"]


def test_the_winner_is_improved_in_a_box_that_begins_with_its_text(open_page: Open) -> None:
    project, person = start(questions={"improve": True})
    page = opened(open_page, project, person)
    press(page, "i", "Escape", "2")
    shown = Assignment.objects.get(annotator=person, task=task_on(page)).shown
    texts = dict(Project.objects.get().tasks.first().responses.values_list("pk", "text")) | dict(
        Project.objects.get().tasks.last().responses.values_list("pk", "text")
    )
    expect(page.locator("#improved")).to_have_value(texts[shown[0]])
    press(page, "6")
    expect(page.locator("#improved")).to_have_value(texts[shown[1]])
    page.evaluate("document.querySelector('#improve').open = false; document.activeElement.blur()")
    held = "document.querySelector('#improve summary').click(), document.activeElement.id"
    assert page.evaluate(held) == "improved"  # at once: a key pressed right after it is written, or leaves the box
    page.locator("#improved").press("Control+End")
    page.keyboard.type(" Truly.")
    press(page, "Control+Enter")
    answer = judged(page)
    assert answer.body["improved"] == texts[answer.shown[1]] + " Truly."


def test_each_turn_is_rated_and_thumbs_have_letters(open_page: Open) -> None:
    aspects = [
        {"name": "clear", "label": "Clear", "points": 10},
        {"name": "keep", "label": "Would you keep it?", "answer": "thumbs"},
    ]
    project = factories.project(kind="rating", questions={"level": "turn", "aspects": aspects})
    project.questions["aspects"] = [
        aspect | {"required": True, "points": aspect.get("points", 2)} for aspect in aspects
    ]
    project.save(update_fields=["questions"])
    turns = [("user", "Hello"), ("assistant", "Hi"), ("user", "Oil or water?")]
    factories.task(project, responses=["Water."], prompt=[{"role": role, "content": text} for role, text in turns])
    page = opened(open_page, project, factories.member(project, "annotator"))
    expect(page.locator(".turn.now")).to_contain_text("Hi")
    press(page, "7", "y", "0", "n", "Enter")
    body = judged(page).body
    assert (body["turns"], body["ratings"]) == ({"1": {"clear": 7, "keep": 2}}, {"clear": 10, "keep": 1})


def test_an_answer_with_everything_is_given_without_javascript(open_page: Open) -> None:
    project, person = start(questions={"improve": True})
    page = open_page(person, f"/projects/{project.slug}/work/", java_script_enabled=False)
    page.locator("#why summary").click()
    page.get_by_label("Clearer").check()
    page.locator("#why summary").click()
    page.locator("#improve summary").click()
    page.locator("#improved").fill("Water sinks.")
    page.locator(".beam label.st1").click()
    page.locator("#rationale").press("Enter")
    expect(page.locator("#goal-done")).to_have_text("1")
    body = Annotation.objects.get().body
    assert (body["reasons"], body["improved"], body["strength"]) == (["clear"], "Water sinks.", 3)
