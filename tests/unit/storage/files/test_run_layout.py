"""Where a run keeps its files, and the identity of its request."""

import pytest

from cloudbuster.aws.admission import admit
from cloudbuster.aws.stack.state import first_round, layout_of
from cloudbuster.storage.files.run_layout import RunLayout, run_id, slug
from tests.unit.aws.requests import REQUEST, STACK, request


def test_the_same_request_has_the_same_id_whatever_its_order_and_force() -> None:
    shuffled = dict(reversed(REQUEST.items()))
    assert run_id(request()) == run_id(admit(shuffled, source="test", settings=STACK))
    assert run_id(request()) == run_id(request(force=True))
    assert run_id(request()) != run_id(request(output="s3://ours/elsewhere"))


def test_an_id_fits_the_names_of_executions_and_jobs() -> None:
    found = run_id(request(name="a." * 60))
    assert len(f"{found}-a99") <= 80
    assert set(found) <= set("abcdef0123456789-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("denver 2020", "denver-2020"), ("Zürich/a.b", "Z-rich-a-b"), ("…", "mosaic"), ("_a_", "a")],
)
def test_slug_keeps_letters_digits_dashes(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_layout_of_a_run() -> None:
    layout = RunLayout.in_bucket(request(), "s3://stack")
    run = layout.id
    assert layout.document("status.json") == f"s3://stack/runs/{run}/status.json"
    assert layout.scenes == f"s3://stack/scratch/{run}/scenes"
    assert layout.tasks == f"s3://stack/scratch/{run}/tasks"
    assert layout.products == f"s3://stack/mosaics/{run}"
    assert layout_of({**first_round(layout), "candidate_count": 3}) == layout


@pytest.mark.parametrize("wish", ["force", "refresh"])
def test_a_run_that_starts_anew_shares_no_scenes_with_another(wish: str) -> None:
    first, second = (
        RunLayout.in_bucket(
            request(force=wish == "force", refresh=wish == "refresh"), "s3://stack", execution=name
        )
        for name in "ab"
    )
    assert first.documents == second.documents
    assert first.scenes != second.scenes
