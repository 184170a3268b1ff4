import os

import pytest

from cloudbuster.io.local_files import files_fingerprint

REMOTE = ("s3://bucket/B04.jp2", "https://example.com/B04.tif", "gs://bucket/B04.jp2")


@pytest.fixture
def band(tmp_path):
    path = tmp_path / "B04.tif"
    path.write_bytes(b"pixels")
    os.utime(path, ns=(1, 2_000_000_003))
    return path


def test_a_file_is_the_same_until_its_size_or_its_time_changes(band):
    before = files_fingerprint([str(band)])
    os.utime(band, ns=(9, 2_000_000_003))  # that it was read is no change
    assert files_fingerprint([str(band)]) == before
    os.utime(band, ns=(1, 2_000_000_004))
    later = files_fingerprint([str(band)])
    band.write_bytes(b"more pixels")
    os.utime(band, ns=(1, 2_000_000_004))
    assert len({before, later, files_fingerprint([str(band)])}) == 3


def test_where_a_file_lies_does_not_matter(band, tmp_path):
    before = files_fingerprint([str(band)])
    (tmp_path / "moved").mkdir()
    moved = band.rename(tmp_path / "moved" / "B04 copy.tif")
    assert files_fingerprint([moved.as_uri()]) == before


def test_a_file_that_goes_or_comes_is_a_change(band):
    both = [str(band), str(band.with_name("SCL.tif"))]
    before = files_fingerprint(both)
    band.with_name("SCL.tif").write_bytes(b"classes")
    assert files_fingerprint(both) != before
    assert files_fingerprint([str(band)]) != before


def test_what_is_elsewhere_and_folders_are_passed_over(band, tmp_path):
    assert files_fingerprint([]) is None
    assert files_fingerprint(REMOTE) is None
    assert files_fingerprint([str(tmp_path), str(tmp_path / "absent"), "nul\0"]) is None
    assert files_fingerprint([*REMOTE, str(band)]) == files_fingerprint([str(band)])
