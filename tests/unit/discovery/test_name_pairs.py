"""A rule of names joins files that belong together, and none that are told apart by a number."""

import pytest

from ray_audit.discovery.name_pairs import pair_rules


def first_rule(media, labels):
    rule = pair_rules(media, [*media, *labels])[0]
    return rule.uri, rule.template, rule.match


STEMS = [f"case_{number:02d}" for number in range(6)]


@pytest.mark.parametrize(
    ("media", "label", "expected"),
    [
        ("images/{}.jpg", "masks/{}.png", ("images/*.jpg", "masks/{stem}.png", None)),
        ("set/{}.jpg", "set/{}_mask.png", ("set/*.jpg", "set/{stem}_mask.png", None)),
        ("set/{}.jpg", "set/gt_{}.png", ("set/*.jpg", "set/gt_{stem}.png", None)),
        ("{}/ct.nii.gz", "{}/seg.nii.gz", ("*/ct.nii.gz", "{folder}/seg.nii.gz", None)),
        ("x/{}_rgb.png", "y/{}_seg.png", ("x/*rgb.png", "y/{1}seg.png", r"^(.*)rgb\.png$")),
    ],
)
def test_what_differs_alike_in_most_pairs_is_the_template(media, label, expected):
    images = [media.format(stem) for stem in STEMS]
    assert first_rule(images, [label.format(stem) for stem in STEMS]) == expected


def test_of_several_parts_the_one_for_training_is_taken_and_the_others_are_told():
    media = [f"images/{part}/{stem}.jpg" for part in ("train", "val") for stem in STEMS]
    labels = [path.replace("images", "masks").replace("jpg", "png") for path in media]
    rule = pair_rules(media, [*media, *labels])[0]
    assert (rule.uri, rule.others) == ("images/train/*.jpg", ("val",))


def test_another_number_is_another_sample():
    pictures = [f"line{number % 2}/cap_{number:04d}.png" for number in range(12)]
    assert pair_rules(pictures, pictures) == []
