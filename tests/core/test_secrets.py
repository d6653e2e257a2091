from __future__ import annotations

import hashlib
import hmac

import pytest
from django.test import override_settings
from django.utils.crypto import salted_hmac

from dovetail_core.secrets import constant_time_compare, keyed_hash, keyed_hashes, random_token

NEW, OLD = "n" * 32, "o" * 32


def test_tokens_are_url_safe_random_and_256_bits_long() -> None:
    tokens = {random_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}
    assert len(random_token(16)) == 22
    assert all(token.replace("-", "").replace("_", "").isalnum() for token in tokens)


def test_keyed_hash_is_hmac_sha256_with_a_derived_key() -> None:
    with override_settings(DOVETAIL_SECRET_PEPPERS=[NEW]):
        key = hashlib.sha256(b"dovetail.secrets" + NEW.encode()).digest()
        # Changing this value would invalidate all hashes in databases.
        assert keyed_hash("invitation", "abc") == hmac.new(key, b"10:invitationabc", hashlib.sha256).hexdigest()


def test_purposes_are_separated() -> None:
    assert keyed_hash("invitation", "abc") != keyed_hash("magic_link", "abc")
    assert keyed_hash("ab", "c") != keyed_hash("a", "bc")
    assert keyed_hash("1", "1:a") != keyed_hash("1:1", "a")


def test_non_ascii_text_is_hashed() -> None:
    assert len(keyed_hash("purpose", "schlüssel-鍵")) == 64
    assert keyed_hash("purpose", "\ud800") != keyed_hash("purpose", "\ud801")


def test_secret_key_and_fallbacks_are_the_default_peppers() -> None:
    with override_settings(SECRET_KEY=OLD):
        stored = keyed_hash("invitation", "abc")
    with override_settings(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD]):
        assert keyed_hash("invitation", "abc") != stored
        assert list(keyed_hashes("invitation", "abc"))[1:] == [stored]
    with override_settings(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[]):
        assert stored not in keyed_hashes("invitation", "abc")


def test_changed_settings_take_effect_after_the_key_was_derived() -> None:
    expected = {}
    for key in (NEW, OLD, NEW, OLD):
        with override_settings(SECRET_KEY=key):
            assert expected.setdefault(key, keyed_hash("invitation", "abc")) == keyed_hash("invitation", "abc")
    with override_settings(DOVETAIL_SECRET_PEPPERS=[NEW.encode()], SECRET_KEY=OLD):
        assert keyed_hash("invitation", "abc") == expected[NEW]
    assert expected[NEW] != expected[OLD]


def test_key_is_derived_once(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []
    monkeypatch.setattr(hmac, "new", lambda key, **kwargs: derived.append(key) or hmac.HMAC(key, **kwargs))
    with override_settings(SECRET_KEY="a key of this test alone", SECRET_KEY_FALLBACKS=["and its fallback"]):
        hashes = {tuple(keyed_hashes("purpose", str(number))) for number in range(3)}
    assert len(hashes) == 3
    assert len(derived) == 2


def test_peppers_replace_the_secret_key() -> None:
    with override_settings(DOVETAIL_SECRET_PEPPERS=[OLD]):
        stored = keyed_hash("invitation", "abc")
    with override_settings(DOVETAIL_SECRET_PEPPERS=(NEW, OLD), SECRET_KEY="one", SECRET_KEY_FALLBACKS=["two"]):
        hashes = list(keyed_hashes("invitation", "abc"))
    assert len(hashes) == 2
    assert hashes[1] == stored
    assert hashes[0] != stored


def test_hash_differs_from_django_salted_hmac() -> None:
    with override_settings(SECRET_KEY=NEW):
        assert keyed_hash("salt", "value") != salted_hmac("salt", "value", algorithm="sha256").hexdigest()
        assert keyed_hash("salt", "value") != hmac.new(NEW.encode(), b"4:saltvalue", hashlib.sha256).hexdigest()


def test_comparison_takes_constant_time() -> None:
    assert constant_time_compare(keyed_hash("p", "v"), keyed_hash("p", "v"))
    assert not constant_time_compare(keyed_hash("p", "v"), keyed_hash("p", "w"))
