"""VoG at the features, through the front."""

import pytest

from ray_audit.console.plan import vog_notes
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.planning.plan import make_plan, read_inputs
from ray_audit.errors import SpecificationError
from tests.support.audits import audit
from tests.support.small_sets import class_folders, labelled_videos, masked_images
from tests.support.tables import rows_of

FEATURES = {"at": "features"}
SCORES = ["csl", "vog"]


@pytest.mark.parametrize("make", [class_folders, masked_images, labelled_videos])
def test_it_has_numbers_of_its_own_and_leaves_all_others(make, tmp_path):
    small = make(tmp_path)
    at_inputs = rows_of(audit(small, scores=SCORES), "scores")
    at_features = rows_of(audit(small, scores=SCORES, vog=FEATURES), "scores")
    assert at_features["vog"].null_count == at_features["csg"].null_count == 0
    # The model of the masks is one layer: its features are the inputs.
    is_one_layer = make is masked_images
    assert (at_features["vog"].to_pylist() == at_inputs["vog"].to_pylist()) == is_one_layer
    for name in ("csl", "suspicion", "final_loss"):
        assert at_features[name].to_pylist() == at_inputs[name].to_pylist()


def test_a_later_checkpoint_continues_kept_moments(tmp_path):
    small, both = class_folders(tmp_path), FEATURES | {"keep_moments": True}
    paths = sorted(map(str, small.folder.glob("checkpoints/*")))
    audit(small, scores=SCORES, vog=both, checkpoints=paths[:-1])
    later = audit(small, scores=SCORES, vog=both)
    whole = audit(small, scores=SCORES, vog=both, output=str(tmp_path / "elsewhere"))
    first, other = (rows_of(outcome, "scores")["vog"].to_pylist() for outcome in (later, whole))
    assert first == pytest.approx(other, rel=1e-6)


def test_a_compiled_model_is_refused(tmp_path):
    with pytest.raises(SpecificationError, match="does not show its last layer"):
        class_folders(tmp_path).config(scores=SCORES, vog=FEATURES, engine={"compile": True})


def test_a_plan_says_what_a_pass_back_costs(tmp_path):
    small = class_folders(tmp_path)
    for vog, says in (({}, True), (FEATURES, False)):
        config = small.config(scores=SCORES, vog=vog)
        index = tmp_path / f"index {says}"
        index.mkdir()
        inputs = read_inputs(config, index, None, "2026-01-31")
        notes = vog_notes(make_plan(inputs, LocalBackend().resources()))
        assert any("a pass back through the network at" in note for note in notes) == says
