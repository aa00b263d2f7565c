import pytest

from annotation.personal import is_personal, kinds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to a.b+c@mail.example.org, please.", {"email"}),
        ("Call 0171 234 5678 now.", {"phone"}),
        ("+49 30 1234567", {"phone"}),
        ("00491711234567", {"phone"}),
        ("(030) 123 45 67", {"phone"}),
        ("555-123-4567", {"phone"}),
        ("GB82 WEST 1234 5698 7654 32", {"iban"}),
        ("4111 1111 1111 1111", {"card"}),
        ("from 192.168.1.1 on", {"ip"}),
        ("a@b.org or 0171 234 5678", {"email", "phone"}),
        ("a @ b, x@y", set()),
        ("GB83 WEST 1234 5698 7654 32", set()),
        ("4111 1111 1111 1112", set()),
        ("300.1.2.3.4", set()),
        ("2026-01-02 03:04, 01.02.2023 10", set()),
        ("In 2019 2020 2021, 1,000,000 and 3.14159265", set()),
        ("0.5 0.6 0.7 0.8 0.9", set()),
        ("order q123456789, 12 34 56", set()),
    ],
)
def test_what_looks_personal_is_told_by_its_kind(text: str, found: set[str]) -> None:
    assert kinds(text) == found


def test_a_column_is_personal_when_most_cells_hold_nothing_else() -> None:
    assert is_personal(["a@b.org", "", None, "c@d.org", "unknown"])
    assert not is_personal(["a@b.org", "unknown", "none"])
    assert not is_personal(["Write to a@b.org."]) and not is_personal([None, ""])
