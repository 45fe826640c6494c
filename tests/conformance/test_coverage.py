"""No recording is left out silently: each is replayed by a test or named as a deviation."""

from __future__ import annotations

import re
from typing import Final

from . import test_answers, test_connections, test_start
from .deviations import DEVIATIONS
from .recordings import FOLDER, recordings

_ELSEWHERE: Final = (
    # file, scenario and name, where it is replayed
    ("s1_one_input", r"s1.http bad_content_length|s1.http no_host", "test_answers"),
    ("s5_lifecycle", r"s5[ab].*", "test_lifecycle"),
    ("s5_lifecycle", r"s5c\..*", "test_start: after the start of the same name"),
    ("s5_lifecycle", r"s5c later_.*", "test_start: test_a_base_path_that_comes_later_is_waited_for"),
    ("s5d_model_config", r".* config", "the configuration files of test_answers"),
    ("s5d_model_config", r"s5d.reload.*", "test_lifecycle: test_the_configuration_is_reloaded"),
    ("s5d_model_config", r"s5d.(label_no_flag|one_bad_one_good) /v1.*", "test_start: the port stays closed"),
    ("s5e_default_retry", r".*", "test_lifecycle and test_start, with shorter intervals"),
    ("s5f_labels_reload", r".*", "test_lifecycle: test_labels_move_only_to_loaded_versions"),
    ("s6_monitoring", r"s6.(before|traffic|after|cls|two|paths) .*", "test_metrics"),
    ("s7_batching", r".* (params|metrics|concurrent .*)", "test_metrics"),
    ("s8_flags_logs", r"s8 signal .*", "test_start: test_a_signal_ends_it"),
    ("s9_misc", r"s9.(symlink|slowcopy|latest2|file_url) .*", "test_lifecycle"),
    ("s9_misc", r"s9.(inflight|threads1|timeout|conn) .*", "test_connections"),
)


def test_every_recording_is_replayed_or_named() -> None:
    replayed = {
        (each.file, each.index)
        for each in (*test_answers._requests(), *test_start._starts(), *test_connections._conversations())
    }
    left_out = []
    for file in sorted(FOLDER.glob("*.jsonl")):
        for each in recordings(file.stem):
            known = (each.file, each.index) in replayed or f"{each.file}:{each.index}" in DEVIATIONS
            label = f"{each.scenario} {each.name}"
            if not known and not any(file.stem == name and re.fullmatch(rule, label) for name, rule, _ in _ELSEWHERE):
                left_out.append(each.id)
    assert not left_out
