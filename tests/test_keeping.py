"""What a benchmark keeps is there whole or not at all."""

import pytest

pytest.importorskip("benchmarks.keeping", reason="run from the checkout: python -m pytest")

from benchmarks.keeping import kept_whole


def test_what_was_written_to_the_end_is_kept(tmp_path):
    with kept_whole(tmp_path / "new" / "steps.gz") as part:
        part.write_text("all of it")
    assert (tmp_path / "new" / "steps.gz").read_text() == "all of it"


def test_what_was_cut_off_is_not(tmp_path):
    def cut_off():
        with kept_whole(tmp_path / "steps.gz") as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert not (tmp_path / "steps.gz").exists()
