"""The table of cases against the pure policy."""

from __future__ import annotations

import pytest

from broker import access
from tests.policy_cases import CASES, CLIENT_ID, NO_FILTERS, WHO, Access, Case

_RULES = {
    Access.CONNECT: access.may_connect,
    Access.PUBLISH: access.may_publish,
    Access.SUBSCRIBE: access.may_subscribe,
    Access.RECEIVE: access.may_receive,
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_policy_answers_as_the_table_says(case: Case) -> None:
    assert _RULES[case.access](WHO[case.who], case.topic) is case.answer


def test_every_role_is_asked_for_every_kind_of_access_with_both_answers_where_there_are_two() -> None:
    asked = {(case.who, case.access, case.answer) for case in CASES}
    everything = {(who, kind, answer) for who in WHO for kind in Access for answer in (True, False)}
    assert everything - asked == {("dashboard", Access.PUBLISH, True)}


@pytest.mark.parametrize("who", WHO)
def test_the_example_client_ids_are_allowed(who: str) -> None:
    assert access.may_connect(WHO[who], CLIENT_ID[who])


@pytest.mark.parametrize("text", NO_FILTERS)
def test_what_is_no_filter_may_not_be_subscribed_to(text: str) -> None:
    assert not any(access.may_subscribe(claims, text) for claims in WHO.values())
