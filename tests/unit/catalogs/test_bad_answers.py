"""Pages of a server that hold what no page should."""

from typing import Any

import pytest

from cloudbuster.catalogs.paging import Page, Pages, feature_key
from cloudbuster.catalogs.transport import Call, UnusableAnswerError, _retry_after_s


class OneAnswer:
    """A transport that gives one answer."""

    label = "catalog test"

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def once(self, _call: Call) -> dict[str, Any]:
        return self.document


def page_of(document: dict[str, Any]) -> Page:
    pages = Pages(OneAnswer(document), Call("https://example.com/search"))  # type: ignore[arg-type]
    return pages._once(Call("https://example.com/search"))


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("feature", [None, 5, "x", [], {}, {"id": 5}, {"id": None}, nested(400)])
def test_whatever_a_page_holds_is_a_feature_with_a_key(feature: Any) -> None:
    assert len(page_of({"features": [feature]}).features) == 1
    assert feature_key(feature)[0] == ""


@pytest.mark.parametrize("href", ["http://[::1", "https://[x]/search", "//[", "http://[1.2.3.4"])
def test_a_link_that_is_no_address_makes_an_answer_unusable(href: str) -> None:
    link = {"rel": "next", "href": href}
    with pytest.raises(UnusableAnswerError, match="a link to the next page that is no address"):
        page_of({"features": [{"id": "a"}], "links": [link]})


@pytest.mark.parametrize("value", [None, 5, "x", ["a"], True])
def test_headers_and_bodies_that_are_no_objects_are_ignored(value: Any) -> None:
    link = {"rel": "next", "href": "next", "method": "POST", "headers": value, "body": value}
    following = page_of({"features": [{"id": "a"}], "links": [None, 5, link]}).following
    assert following == Call("https://example.com/next", "POST", {}, {})


@pytest.mark.parametrize(
    "text", ["²", "9" * 400, "-5", "never", "Mon, 99 Jan 2020 99:00:00 GMT", ""]
)
def test_a_wait_that_is_none_is_no_wait(text: str) -> None:
    assert _retry_after_s(text) == 0.0
