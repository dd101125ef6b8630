from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.engine.ledger import record_sets
from ray_audit.engine.ledger.record_sets import RecordSet, SetFiles, Wanted
from ray_audit.engine.reduce.load import UnitFiles
from ray_audit.samples import ShardFailure
from ray_audit.storage import write_bytes

UNIT, SET = "ab" * 16, "cd" * 16


def checkpoints(num):
    return tuple(Checkpoint(i, f"e{i}", f"uri{i}", 1, f"d{i}") for i in range(num))


def failure(stage):
    return ShardFailure("shard", None, stage, "error", "message", 1)


def part(index, content="a"):
    return record_sets.part_name(index, content * 12)


def tail(*contents):
    return record_sets.tail_name([content * 12 for content in contents])


def put(output, name, failures=()):
    uri = record_sets.file_uri(output, UNIT, SET, name, failures)
    write_bytes(uri, b"x")
    return uri


def complete(output, accept_retries=True):
    return record_sets.completed(output, accept_retries).get(UNIT, {}).get(SET)


def test_a_unit_is_done_when_its_tail_and_every_batch_are_there(tmp_path):
    output = str(tmp_path)
    first = put(output, part(0))
    put(output, tail("a", "b"))
    assert complete(output) is None
    second = put(output, part(1, "b"))
    assert complete(output).parts == (first, second)


def test_a_unit_without_batches_is_done_by_its_tail(tmp_path):
    put(str(tmp_path), tail())
    assert complete(str(tmp_path)).parts == ()


def test_parts_of_two_decodings_are_never_mixed(tmp_path):
    output = str(tmp_path)
    put(output, part(0, "a"))
    put(output, part(1, "b"))
    put(output, tail("a", "b"), [failure("read")])
    put(output, part(0, "c"))
    put(output, tail("c", "d"))
    assert complete(output, accept_retries=False) is None
    last = put(output, part(1, "d"))
    assert complete(output, accept_retries=False).parts[1] == last


def test_a_failure_that_may_pass_is_tried_again_by_later_runs(tmp_path):
    output = str(tmp_path)
    put(output, part(0), [failure("probe")])
    put(output, tail("a"))
    assert complete(output)
    assert not complete(output, accept_retries=False)
    good = put(output, part(0))
    assert complete(output).parts == (good,)


def test_a_failure_of_the_data_is_final(tmp_path):
    put(str(tmp_path), tail(), [failure("decode")])
    assert complete(str(tmp_path), accept_retries=False)


def test_files_of_others_are_not_counted(tmp_path):
    write_bytes(f"{tmp_path}/units/{UNIT}/{SET}/.000000.parquet.1.tmp", b"")
    write_bytes(f"{tmp_path}/units/notes.txt", b"")
    assert record_sets.completed(str(tmp_path), accept_retries=True) == {}


def test_a_fresh_unit_needs_every_checkpoint():
    wanted = Wanted.of(checkpoints(3), "loss", "all")
    assert wanted.missing_from([]) == (0, 1, 2)


def test_one_more_checkpoint_alone_runs_without_vog():
    old = Wanted.of(checkpoints(3), None, "all").set_for((0, 1, 2))
    assert Wanted.of(checkpoints(4), None, "all").missing_from([old]) == (3,)


def test_vog_over_another_window_runs_its_checkpoints_again():
    old = Wanted.of(checkpoints(3), "loss", "all").set_for((0, 1, 2))
    assert Wanted.of(checkpoints(4), "loss", "all").missing_from([old]) == (0, 1, 2, 3)
    assert Wanted.of(checkpoints(3), "logit", "late").missing_from([old]) == (2,)


def test_the_last_checkpoint_runs_again_where_it_gave_no_final_scores():
    old = Wanted.of(checkpoints(3), None, "all").set_for((0, 1, 2))
    assert Wanted.of(checkpoints(2), None, "all").missing_from([old]) == (1,)


def test_late_window_leaves_out_the_first_half_rounded_up():
    wanted = Wanted.of(checkpoints(5), "loss", "late")
    assert wanted.vog == ("loss", "d3", "d4")


def test_sets_round_trip_and_their_names_follow_their_content(tmp_path):
    one = RecordSet(("d0", "d1"), "d1", ("loss", "d0", "d1"))
    record_sets.write_sets(str(tmp_path), [one])
    assert record_sets.read_sets(str(tmp_path)) == {one.set_id: one}
    assert RecordSet(("d0", "d1"), "d1", None).set_id != one.set_id


def test_a_second_pass_is_a_set_of_its_own_that_gives_no_checkpoint(tmp_path):
    wanted = Wanted.of(checkpoints(2), None, "all")
    first, second = wanted.set_for((0, 1)), RecordSet((), None, None, recount="thresholds")
    record_sets.write_sets(str(tmp_path), [first, second])
    assert record_sets.read_sets(str(tmp_path))[second.set_id] == second
    assert second.set_id != RecordSet((), None, None, recount="other thresholds").set_id
    assert wanted.missing_from([second]) == (0, 1)
    files = {one.set_id: SetFiles((), "tail") for one in (first, second)}
    sets = {one.set_id: one for one in (first, second)}
    assert UnitFiles.choose("u", sets, files, wanted).sets == (first,)


def test_of_two_tries_with_failures_the_one_that_got_further_counts(tmp_path):
    output = str(tmp_path)
    put(output, tail(), [failure("read")])
    put(output, part(0))
    further = put(output, tail("a"), [failure("read")])
    assert complete(output).tail == further
