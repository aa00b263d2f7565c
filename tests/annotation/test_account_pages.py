"""A person's own page: how the site looks to them, their tokens and their password."""

import pytest
from django.test import Client

from annotation.models import ApiToken, User
from tests import factories

pytestmark = pytest.mark.django_db
SCRIPT = {"X-Requested-With": "fetch"}


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_preferences_are_kept_and_the_server_renders_the_theme() -> None:
    person = factories.user()
    client = signed_in(person)
    assert (
        client.post("/account/preferences/", {"theme": "dark", "single_keys": "0"}, headers=SCRIPT).status_code == 204
    )
    person.refresh_from_db()
    assert person.preferences == {"theme": "dark", "single_keys": False}
    assert b'data-theme="dark"' in client.get("/my-work/").content
    assert client.post("/account/preferences/", {"theme": "neon"}, headers=SCRIPT).status_code == 422


def test_a_token_is_shown_once_and_can_be_revoked() -> None:
    person = factories.user()
    client = signed_in(person)
    html = client.post("/account/tokens/", {"name": "export", "scope": "read", "days": "7"}).content.decode()
    secret = html.split('id="secret" class="anywhere">')[1].split("<")[0]
    token = ApiToken.find(secret)
    assert token is not None and token.scope == "read"
    assert secret not in client.get("/account/").content.decode()
    assert signed_in(factories.user()).post(f"/account/tokens/{token.pk}/revoke/").status_code == 404
    client.post(f"/account/tokens/{token.pk}/revoke/")
    assert ApiToken.find(secret) is None


def test_a_password_is_changed_only_with_the_old_one() -> None:
    person = factories.user()
    client = signed_in(person)
    new = {"new_password1": "another-long-one-7", "new_password2": "another-long-one-7"}
    assert client.post("/account/", new | {"old_password": "wrong"}).status_code == 422
    assert client.post("/account/", new | {"old_password": "correct horse battery"}).status_code == 302
    person.refresh_from_db()
    assert person.check_password("another-long-one-7")
