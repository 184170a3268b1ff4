"""Stamps by which a replaced file is noticed."""

import os

import pytest

from cloudbuster.storage.rasters.local_files import file_stamps

REMOTE = ("s3://bucket/B04.jp2", "https://example.com/B04.tif", "gs://bucket/B04.jp2")


def stamps(hrefs, before=None):
    found = file_stamps(hrefs, before)
    assert found is not None
    return found


@pytest.fixture
def band(tmp_path):
    path = tmp_path / "B04.tif"
    path.write_bytes(b"pixels")
    os.utime(path, ns=(1, 2_000_000_003))
    return path


def test_a_file_is_the_same_until_its_size_or_its_time_changes(band):
    before = file_stamps([str(band)])
    os.utime(band, ns=(9, 2_000_000_003))  # Reading a file is no change.
    assert file_stamps([str(band)]) == before
    os.utime(band, ns=(1, 2_000_000_004))
    later = file_stamps([str(band)])
    band.write_bytes(b"more pixels")
    os.utime(band, ns=(1, 2_000_000_004))
    assert len({before, later, file_stamps([str(band)])}) == 3


def test_a_moved_file_keeps_its_stamp(band, tmp_path):
    before = file_stamps([str(band)])
    (tmp_path / "moved").mkdir()
    moved = band.rename(tmp_path / "moved" / "B04 copy.tif")
    assert file_stamps([moved.as_uri()]) == before


def test_a_new_file_is_a_change_and_a_missing_one_is_none(band):
    other = band.with_name("SCL.tif")
    both = [str(band), str(other)]
    one = file_stamps(both)
    other.write_bytes(b"classes")
    two = stamps(both, one)
    assert one == (two[0], None)
    assert two[1] is not None
    band.unlink()
    assert file_stamps(both, two) == two
    assert file_stamps(both) == (None, two[1])
    other.write_bytes(b"other classes")
    assert stamps(both, two)[1] != two[1]
    # Stamps of other addresses are not used.
    assert file_stamps([str(other)], two) == (stamps(both)[1],)


def test_the_masks_in_a_folder_count_together(band, tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"")
    before = file_stamps([str(tmp_path)])
    (tmp_path / "notes.txt").write_bytes(b"more")
    assert file_stamps([str(tmp_path)]) == before
    os.utime(band, ns=(1, 5))
    assert file_stamps([str(tmp_path)]) != before


def test_remote_and_missing_files_have_no_stamp(band, tmp_path):
    assert file_stamps([]) is None
    assert file_stamps(REMOTE) is None
    (tmp_path / "empty").mkdir()
    assert file_stamps([str(tmp_path / "empty"), str(tmp_path / "absent"), "nul\0"]) is None
    assert file_stamps([*REMOTE, str(band)]) == (None, None, None, *stamps([str(band)]))
