from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.engine.ledger import crates, record_sets
from ray_audit.engine.ledger.crates import CrateName, SetFiles
from ray_audit.engine.ledger.record_sets import RecordSet, RequiredRecords
from ray_audit.engine.reduce.load import UnitFiles
from ray_audit.samples import ShardFailure
from ray_audit.storage import write_bytes

UNIT, SET = "ab" * 16, "cd" * 16


def checkpoints(num):
    return tuple(Checkpoint(i, f"e{i}", f"uri{i}", 1, f"d{i}") for i in range(num))


def failure(stage):
    return ShardFailure("shard", None, stage, "error", "message", 1)


def digest_of(contents):
    """Of what so many batches hold, a letter each."""
    digest = crates.START
    for content in contents:
        digest = crates.after_batch(digest, content * 12)
    return digest


def crate(contents, first=0, end=False):
    """The batches from `first` on of a unit whose batches up to there hold these."""
    before, after = digest_of(contents[:first]), digest_of(contents)
    return CrateName(first, len(contents), before, after, end)


def put(output, name, failures=()):
    uri = record_sets.crate_uri(output, UNIT, SET, name, failures)
    write_bytes(uri, b"x")
    return uri


def complete(output, accept_retries=True):
    return record_sets.completed(output, accept_retries).get(UNIT, {}).get(SET)


def test_a_unit_is_done_when_its_crates_join_from_the_first_batch_to_the_tail(tmp_path):
    output = str(tmp_path)
    first = put(output, crate("ab"))
    last = put(output, crate("abcd", first=3, end=True))
    assert complete(output) is None
    middle = put(output, crate("abc", first=2))
    assert complete(output).crates == (first, middle, last)
    assert complete(output).num_batches == 4


def test_a_unit_without_batches_is_done_by_its_tail(tmp_path):
    uri = put(str(tmp_path), crate("", end=True))
    assert complete(str(tmp_path)).crates == (uri,)
    assert complete(str(tmp_path)).num_batches == 0


def test_crates_of_any_size_join(tmp_path):
    output = str(tmp_path)
    put(output, crate("a"))
    put(output, crate("abc", first=1))
    first = put(output, crate("ab"))
    rest = put(output, crate("abcd", first=2, end=True))
    assert complete(output).crates == (first, rest)


def test_crates_that_overlap_or_leave_a_gap_do_not_join(tmp_path):
    output = str(tmp_path)
    put(output, crate("abc"))
    put(output, crate("abcd", first=2, end=True))
    put(output, crate("abcdef", first=4, end=True))
    assert complete(output) is None


def test_crates_of_two_decodings_are_never_mixed(tmp_path):
    output = str(tmp_path)
    put(output, crate("a"))
    put(output, crate("ab", first=1, end=True), [failure("read")])
    put(output, crate("c"))
    assert complete(output, accept_retries=False) is None
    last = put(output, crate("cb", first=1, end=True))
    assert complete(output, accept_retries=False).crates[1] == last


def test_a_failure_that_may_pass_is_tried_again_by_later_runs(tmp_path):
    output = str(tmp_path)
    put(output, crate("a"), [failure("probe")])
    last = put(output, crate("ab", first=1, end=True))
    assert complete(output).may_do_better
    assert not complete(output, accept_retries=False)
    good = put(output, crate("a"))
    assert complete(output).crates == (good, last)
    assert not complete(output).may_do_better


def test_a_chain_without_failures_is_preferred_to_a_shorter_one_with_some(tmp_path):
    output = str(tmp_path)
    put(output, crate("ab", end=True), [failure("probe")])
    good = put(output, crate("a")), put(output, crate("ab", first=1, end=True))
    assert complete(output).crates == good


def test_moments_count_where_every_crate_with_batches_has_them(tmp_path):
    output = str(tmp_path)
    first, end = crate("ab"), crate("ab", first=2, end=True)
    put(output, first)
    put(output, end)
    assert complete(output).moments is None
    uri = f"{tmp_path}/units/{UNIT}/{SET}/{first}-{'0' * 12}.moments"
    write_bytes(uri, b"x")
    assert complete(output).moments == (uri,)


def test_a_failure_of_the_data_is_final(tmp_path):
    put(str(tmp_path), crate("", end=True), [failure("decode")])
    assert complete(str(tmp_path), accept_retries=False)


def test_records_of_an_earlier_version_are_not_counted(tmp_path):
    folder = f"{tmp_path}/units/{UNIT}/{SET}"
    write_bytes(f"{folder}/000000-{'a' * 12}.parquet", b"x")
    write_bytes(f"{folder}/tail-000001-{'b' * 12}.parquet", b"x")
    assert record_sets.completed(str(tmp_path), accept_retries=True) == {}


def test_files_of_others_are_not_counted(tmp_path):
    write_bytes(f"{tmp_path}/units/{UNIT}/{SET}/.000000.parquet.1.tmp", b"")
    write_bytes(f"{tmp_path}/units/notes.txt", b"")
    assert record_sets.completed(str(tmp_path), accept_retries=True) == {}


def test_a_fresh_unit_needs_every_checkpoint():
    required = RequiredRecords.of(checkpoints(3), "loss", "all")
    assert required.missing_from([]) == (0, 1, 2)


def test_one_more_checkpoint_alone_runs_without_vog():
    old = RequiredRecords.of(checkpoints(3), None, "all").set_for((0, 1, 2))
    assert RequiredRecords.of(checkpoints(4), None, "all").missing_from([old]) == (3,)


def test_vog_over_another_window_runs_its_checkpoints_again():
    old = RequiredRecords.of(checkpoints(3), "loss", "all").set_for((0, 1, 2))
    assert RequiredRecords.of(checkpoints(4), "loss", "all").missing_from([old]) == (0, 1, 2, 3)
    assert RequiredRecords.of(checkpoints(3), "logit", "late").missing_from([old]) == (2,)


def test_the_last_checkpoint_runs_again_where_it_gave_no_final_scores():
    old = RequiredRecords.of(checkpoints(3), None, "all").set_for((0, 1, 2))
    assert RequiredRecords.of(checkpoints(2), None, "all").missing_from([old]) == (1,)


def test_late_window_leaves_out_the_first_half_rounded_up():
    required = RequiredRecords.of(checkpoints(5), "loss", "late")
    assert required.vog == ("loss", "d3", "d4")


def test_sets_round_trip_and_their_names_follow_their_content(tmp_path):
    result = RecordSet(("d0", "d1"), "d1", ("loss", "d0", "d1"))
    record_sets.write_sets(str(tmp_path), [result])
    assert record_sets.read_sets(str(tmp_path)) == {result.set_id: result}
    assert RecordSet(("d0", "d1"), "d1", None).set_id != result.set_id


def test_a_second_pass_is_a_set_of_its_own_that_gives_no_checkpoint(tmp_path):
    required = RequiredRecords.of(checkpoints(2), None, "all")
    first, second = required.set_for((0, 1)), RecordSet((), None, None, recount="thresholds")
    record_sets.write_sets(str(tmp_path), [first, second])
    assert record_sets.read_sets(str(tmp_path))[second.set_id] == second
    assert second.set_id != RecordSet((), None, None, recount="other thresholds").set_id
    assert required.missing_from([second]) == (0, 1)
    files = {item.set_id: SetFiles(("end",)) for item in (first, second)}
    sets = {item.set_id: item for item in (first, second)}
    assert UnitFiles.choose("u", sets, files, required).sets == (first,)


def test_of_two_tries_with_failures_the_one_that_got_further_counts(tmp_path):
    output = str(tmp_path)
    put(output, crate("", end=True), [failure("read")])
    further = put(output, crate("a", end=True), [failure("read")])
    assert complete(output).crates == (further,)
