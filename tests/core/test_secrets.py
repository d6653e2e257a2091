from __future__ import annotations

import hashlib
import hmac

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


def test_a_keyed_hash_is_hmac_sha256_under_a_key_derived_for_this_use() -> None:
    with override_settings(DOVETAIL_SECRET_PEPPERS=[NEW]):
        key = hashlib.sha256(b"dovetail.secrets" + NEW.encode()).digest()
        # Stored in databases: changing this voids every hash there is.
        assert keyed_hash("invitation", "abc") == hmac.new(key, b"10:invitationabc", hashlib.sha256).hexdigest()


def test_purposes_are_separate_domains() -> None:
    assert keyed_hash("invitation", "abc") != keyed_hash("magic_link", "abc")
    assert keyed_hash("ab", "c") != keyed_hash("a", "bc")
    assert keyed_hash("1", "1:a") != keyed_hash("1:1", "a")


def test_text_beyond_ascii_is_hashed() -> None:
    assert len(keyed_hash("purpose", "schlüssel-鍵")) == 64


def test_without_peppers_the_secret_key_and_its_fallbacks_serve() -> None:
    with override_settings(SECRET_KEY=OLD):
        stored = keyed_hash("invitation", "abc")
    with override_settings(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD]):
        assert keyed_hash("invitation", "abc") != stored
        assert list(keyed_hashes("invitation", "abc"))[1:] == [stored]
    with override_settings(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[]):
        assert stored not in keyed_hashes("invitation", "abc")


def test_peppers_take_the_place_of_the_secret_key_newest_first() -> None:
    with override_settings(DOVETAIL_SECRET_PEPPERS=[OLD]):
        stored = keyed_hash("invitation", "abc")
    with override_settings(DOVETAIL_SECRET_PEPPERS=(NEW, OLD), SECRET_KEY="one", SECRET_KEY_FALLBACKS=["two"]):
        found = list(keyed_hashes("invitation", "abc"))
    assert len(found) == 2
    assert found[1] == stored
    assert found[0] != stored


def test_no_hash_equals_a_mac_that_django_makes_with_the_same_key() -> None:
    with override_settings(SECRET_KEY=NEW):
        assert keyed_hash("salt", "value") != salted_hmac("salt", "value", algorithm="sha256").hexdigest()
        assert keyed_hash("salt", "value") != hmac.new(NEW.encode(), b"4:saltvalue", hashlib.sha256).hexdigest()


def test_comparison_is_djangos_constant_time_one() -> None:
    assert constant_time_compare(keyed_hash("p", "v"), keyed_hash("p", "v"))
    assert not constant_time_compare(keyed_hash("p", "v"), keyed_hash("p", "w"))
