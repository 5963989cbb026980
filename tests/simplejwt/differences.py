"""Which of Simple JWT's own cases come out otherwise with this package's classes, and why. No other may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

DIFFERENCES: Final = {
    "A token that is issued becomes no row in Simple JWT's tables: a session in Redis is what is outstanding, and its"
    " end is the blacklist. `blacklist()` returns whether the session was alive.": (
        "test_token_blacklist.py::TestTokenBlacklist::test_outstanding_token_and_blacklisted_token_created_at",
        "test_token_blacklist.py::TestTokenBlacklist"
        "::test_outstanding_token_and_blacklisted_token_created_at_with_modified_user_id_field",
        "test_token_blacklist.py::TestTokenBlacklist::test_outstanding_token_and_blacklisted_token_user",
        "test_token_blacklist.py::TestTokenBlacklist"
        "::test_outstanding_token_and_blacklisted_token_user_with_modifed_user_id_field",
        "test_token_blacklist.py::TestTokenBlacklist"
        "::test_outstanding_token_with_deleted_user_and_modifed_user_id_field",
        "test_token_blacklist.py::TestTokenBlacklist::test_refresh_tokens_are_added_to_outstanding_list",
        "test_token_blacklist.py::TestTokenBlacklist::test_sliding_tokens_are_added_to_outstanding_list",
        "test_token_blacklist.py::TestTokenBlacklist::test_token_will_not_validate_if_blacklisted",
        "test_token_blacklist.py::TestTokenBlacklist::test_tokens_can_be_manually_blacklisted",
        "test_token_blacklist.py::TestTokenBlacklistFlushExpiredTokens::test_it_should_delete_any_expired_tokens",
        "test_token_blacklist.py::TestTokenBlacklistFlushExpiredTokens"
        "::test_token_blacklist_will_not_be_removed_on_User_delete",
    ),
    "A successor's `exp` is by Redis' clock. The case turns back the application server's, and wants it by that.": (
        "test_serializers.py::TestTokenRefreshSerializer"
        "::test_it_should_return_refresh_token_if_tokens_should_be_rotated",
        # It looks for rows as well.
        "test_serializers.py::TestTokenRefreshSerializer"
        "::test_it_should_blacklist_refresh_token_if_tokens_should_be_rotated_and_blacklisted",
    ),
    "A refresh token of a deleted user is a 401, `no_active_account`, as it is of an inactive one. Simple JWT lets"
    " `DoesNotExist` out, which is a 500.": (
        "test_serializers.py::TestTokenRefreshSerializer::test_it_should_raise_error_for_deleted_users",
    ),
    "What was revoked is refused whatever `BLACKLIST_AFTER_ROTATION` says.": (
        "test_token_blacklist.py::TokenVerifySerializerShouldHonourBlacklist"
        "::test_token_verify_serializer_should_not_honour_blacklist_if_blacklisting_not_enabled",
    ),
}


def expected() -> set[str]:
    """Their cases, as pytest names them."""
    return {f"tests/{case}" for cases in DIFFERENCES.values() for case in cases}


def listing() -> str:
    """The part of the documentation's page that lists them."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for reason, cases in DIFFERENCES.items():
        yield f"**{reason}**\n"
        for case in cases:
            module, _, name = case.partition("::")
            yield f"- `{module}` `{name.replace('::', '.')}`"
        yield ""
