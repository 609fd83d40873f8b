"""Row D2-743 in spirit: one set-up, a file per process, the console for the first."""

import logging

import pytest

from okulo_core.logging import setup_logging


@pytest.fixture(autouse=True)
def restore():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level


def test_the_first_process_writes_to_the_console_and_the_file(tmp_path, capsys):
    setup_logging("INFO", file=tmp_path / "logs" / "log.txt")
    logging.getLogger("okulo_engine.loop").info("step %d", 3)

    assert "okulo_engine.loop INFO: step 3" in capsys.readouterr().err
    assert "okulo_engine.loop INFO: step 3" in (tmp_path / "logs" / "log.txt").read_text()


def test_other_processes_only_warn_and_have_their_own_file(tmp_path, capsys):
    setup_logging("INFO", file=tmp_path / "log.txt", rank=2)
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")

    err = capsys.readouterr().err
    assert "quiet" not in err
    assert "loud" in err
    assert "quiet" in (tmp_path / "log.txt.rank2").read_text()
    assert not (tmp_path / "log.txt").exists()


def test_a_second_call_replaces_the_first(capsys):
    setup_logging("INFO")
    setup_logging("ERROR")
    logging.getLogger("x").warning("quiet")
    logging.getLogger("x").error("once")

    err = capsys.readouterr().err
    assert "quiet" not in err
    assert err.count("once") == 1
