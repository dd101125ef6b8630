"""Videos, and feature sequences."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit.layouts import recipe_named
from tests.support.published.built import Built, photo, put_text, touched
from tests.support.small_sets import video

PHASES = recipe_named("cholec80").dataset["classes"]


def cholec80(root):
    expected = {}
    for number, name in enumerate(("video01", "video02")):
        touched(root / f"videos/{name}.mp4")
        phases = [PHASES[(t + number) // 5 % 7] for t in range(40)]
        rows = [f"{t}\t{phase}" for t, phase in enumerate(phases)]
        put_text(root / f"phase_annotations/{name}-phase.txt", "Frame\tPhase", *rows)
        expected |= {f"{name}.mp4#{t}": phase for t, phase in enumerate(phases)}
    return Built("cholec80", expected)


TOOLS = ["Grasper", "Bipolar", "Hook", "Scissors", "Clipper", "Irrigator", "SpecimenBag"]


def cholec80_tools(root):
    expected = {}
    for name in ("video01", "video02"):
        touched(root / f"videos/{name}.mp4")
        rows = [[25 * k, *((k + tool) % 2 for tool in range(7))] for k in range(6)]
        lines = ["\t".join(map(str, row)) for row in rows]
        put_text(root / f"tool_annotations/{name}-tool.txt", "\t".join(["Frame", *TOOLS]), *lines)
        expected |= {f"{name}.mp4#{row[0]}": row[3] for row in rows}
    overrides = {"labels": {"columns": {"label": "Hook"}}}
    return Built("cholec80-tools", expected, overrides, init=False)


def autolaparo(root):
    expected = {}
    for number in (1, 2):
        video(root / f"videos/0{number}.mp4", 60)  # 25 a second
        rows = [f"{second}\t{1 + (second + number) % 7}" for second in (1, 2, 3)]
        put_text(root / f"labels/label_0{number}.txt", "Frame\tPhase", *rows)
        expected |= {f"0{number}.mp4#{t}": (t // 25 + 1 + number) % 7 for t in range(60)}
    return Built("autolaparo", expected)


def ms_tcn(root):
    expected, names = {}, ["cut_tomato", "mix", "serve it"]
    for index, stem in enumerate(["rgb-01-1", "rgb-01-2", "rgb-02-1"]):
        labels = [names[(t + index) // 4 % 3] for t in range(11)]
        (root / "features").mkdir(parents=True, exist_ok=True)
        np.save(root / f"features/{stem}.npy", np.zeros((5, 11), np.float32))
        put_text(root / f"groundTruth/{stem}.txt", *labels)
        if index != 1:
            expected |= {f"{stem}.npy#{t}": label for t, label in enumerate(labels)}
    put_text(root / "splits/train.split1.bundle", "rgb-01-1.txt", "rgb-02-1.txt")
    put_text(root / "mapping.txt", *(f"{i} {name}" for i, name in enumerate(names)))
    return Built("ms-tcn", expected)


def rows_of_features(root):
    """Arrays (T, D) with a label a line, and no more files."""
    expected = {}
    for index, stem in enumerate(["a", "b"]):
        (root / "feats").mkdir(parents=True, exist_ok=True)
        np.save(root / f"feats/{stem}.npy", np.zeros((9, 4), np.float32))
        labels = [("reach", "hold")[(t + index) // 3 % 2] for t in range(9)]
        put_text(root / f"labels/{stem}.txt", *labels)
        expected |= {f"{stem}.npy#{t}": label for t, label in enumerate(labels)}
    dataset = {
        "kind": "sequences",
        "uri": "{root}/feats/*.npy",
        "labels": {"frames": "{root}/labels/{stem}.txt", "header": ["label"]},
        "classes": ["reach", "hold"],
    }
    return Built(None, expected, dataset=dataset)


def kinetics(root):
    names = ["abseiling/-x_1_000001_000011", "zumba/Ab0_000010_000020"]
    for name in names:
        touched(root / f"train/{name}.mp4")
    rows = ["abseiling,-x_1,1,11,train", "zumba,Ab0,10,20,train"]
    put_text(root / "train.csv", "label,youtube_id,time_start,time_end,split", *rows)
    expected = {f"{name}.mp4": name.partition("/")[0] for name in names}
    return Built("kinetics", expected, {"classes": ["abseiling", "zumba"]})


def mmaction2(root):
    names = ["abseiling/a,b.mp4", "zumba/b.mp4", "zumba/c.mp4"]
    for name in names:
        touched(root / f"videos_train/{name}")
    lines = [f"{name} {int(name.startswith('zumba'))}" for name in names]
    put_text(root / "kinetics400_train_list_videos.txt", *lines)
    expected = {name: int(name.startswith("zumba")) for name in names}
    return Built("mmaction2", expected, {"classes": ["abseiling", "zumba"]})


def ucf101(root):
    for name in ("ApplyEyeMakeup/v_a.avi", "Archery/v_b.avi", "Archery/v_c.avi"):
        touched(root / f"UCF-101/{name}")
    put_text(root / "ucfTrainTestlist/classInd.txt", "1 ApplyEyeMakeup", "2 Archery")
    lines = ["ApplyEyeMakeup/v_a.avi 1", "Archery/v_b.avi 2"]
    put_text(root / "ucfTrainTestlist/trainlist01.txt", *lines)
    expected = {"ApplyEyeMakeup/v_a.avi": "ApplyEyeMakeup", "Archery/v_b.avi": "Archery"}
    return Built("ucf101", expected)


def lerobot_v2(root):
    expected = {}
    for episode in range(3):
        stem = f"episode_{episode:06d}"
        touched(root / f"videos/chunk-000/observation.images.top/{stem}.mp4")
        labels = [(t + episode) // 4 % 2 for t in range(8)]
        columns = {
            "frame_index": list(range(8)),
            "timestamp": [t / 10 for t in range(8)],
            "episode_index": [episode] * 8,
            "subtask_index": labels,
        }
        path = root / f"data/chunk-000/{stem}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        key = f"chunk-000/observation.images.top/{stem}.mp4"
        expected |= {f"{key}#{t}": label for t, label in enumerate(labels)}
    put_text(root / "meta/info.json", json.dumps({"codebase_version": "v2.1", "fps": 10}))
    return Built("lerobot-v2", expected, {"classes": ["reach", "grasp"]})


def lerobot_v3(root, touch=touched):
    """Five episodes in two video files and two tables, which break at other episodes."""
    lengths, expected, rows, camera = (4, 3, 5, 2, 6), {}, [], "observation.images.top"
    of_file = (0, 0, 0, 1, 1)
    begins_s = (0.0, 0.4, 0.7, 0.0, 0.2)
    for file in set(of_file):
        touch(root / f"videos/{camera}/chunk-000/file-{file:03d}.mp4")
    for episode, length in enumerate(lengths):
        labels = [(t + episode) // 2 % 2 for t in range(length)]
        rows += [(episode, t, label) for t, label in enumerate(labels)]
        key = f"{camera}/chunk-000/file-{of_file[episode]:03d}.mp4/{episode}"
        expected |= {f"{key}#{t}": label for t, label in enumerate(labels)}
    for file, part in enumerate((rows[:7], rows[7:])):  # behind the second episode
        names = ("episode_index", "frame_index", "subtask_index")
        table = pa.table({name: [row[at] for row in part] for at, name in enumerate(names)})
        put_parquet(root / f"data/chunk-000/file-{file:03d}.parquet", table)
    episodes = {
        "episode_index": list(range(5)),
        "length": list(lengths),
        f"videos/{camera}/chunk_index": [0] * 5,
        f"videos/{camera}/file_index": list(of_file),
        f"videos/{camera}/from_timestamp": list(begins_s),
        f"videos/{camera}/to_timestamp": [
            begin_s + length / 10 for begin_s, length in zip(begins_s, lengths, strict=True)
        ],
    }
    put_parquet(root / "meta/episodes/chunk-000/file-000.parquet", pa.table(episodes))
    put_text(root / "meta/info.json", json.dumps({"codebase_version": "v3.0", "fps": 10}))
    return Built("lerobot-v3", expected, {"classes": ["reach", "grasp"]})


def put_parquet(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def something_something(root):
    rows = [
        ("78687", "holding cup", "Holding [something]"),
        ("42326", "pushing pen", "Pushing [something] from left to right"),
        ("100904", "holding pen", "Holding [something]"),
    ]
    for name, _, _ in rows:
        touched(root / f"20bn-something-something-v2/{name}.webm")
    entries = [{"id": i, "label": text, "template": t} for i, text, t in rows]
    put_text(root / "labels/train.json", json.dumps(entries))
    expected = {f"{name}.webm": template for name, _, template in rows}
    classes = sorted({template for _, _, template in rows})
    return Built("something-something", expected, {"classes": classes})


def segments_in_one_table(root):
    expected, rows = {}, []
    for name in ("a", "b"):
        touched(root / f"clips/{name}.mp4")
        for start, label in ((0, "open"), (5, "close")):
            rows.append(f"{name}.mp4,{start},{start + 4},{label}")
            expected |= {f"{name}.mp4#{t}": label for t in range(start, start + 5)}
    put_text(root / "annotations.csv", "video,start_frame,stop_frame,action", *rows)
    dataset = {
        "kind": "video",
        "uri": "{root}/clips/*.mp4",
        "labels": {
            "segments": "{root}/annotations.csv",
            "columns": {"end_frame": "stop_frame", "label": "action"},
            "ends": "inclusive",
        },
        "classes": ["open", "close"],
    }
    return Built(None, expected, dataset=dataset)


def frames_in_one_table(root):
    expected, rows = {}, []
    for name in ("v1", "v2"):
        touched(root / f"videos/{name}.mp4")
        for t in range(6):
            label = ("idle", "work")[t // 3]
            rows.append(f"{name}\t{t}\t{label}")
            expected[f"{name}.mp4#{t}"] = label
    put_text(root / "frames.tsv", "video\tframe\tphase", *rows)
    dataset = {
        "kind": "video",
        "uri": "{root}/videos/*.mp4",
        "labels": {"frames": "{root}/frames.tsv", "columns": {"label": "phase"}},
        "classes": ["idle", "work"],
    }
    return Built(None, expected, dataset=dataset)


def activitynet(root):
    """Segments overlap: the first of them holds."""
    annotations = {"A1": [([0.0, 1.0], "Run"), ([0.8, 2.0], "Jump")], "B2": [([0.4, 1.2], "Jump")]}
    expected = {}
    for name, segments in annotations.items():
        video(root / f"videos/v_{name}.mp4", 50)  # 25 a second
        for t in range(50):
            middle = (t + 0.5) / 25
            over = [label for (start, end), label in segments if start <= middle < end]
            expected |= {f"v_{name}.mp4#{t}": over[0]} if over else {}
    database = {
        name: {
            "subset": "training",
            "duration": 2.0,
            "annotations": [{"segment": at, "label": label} for at, label in segments],
        }
        for name, segments in annotations.items()
    }
    put_text(root / "activity_net.v1-3.json", json.dumps({"version": "1.3", "database": database}))
    return Built("activitynet", expected, {"classes": ["Jump", "Run"]})


def egoper(root):
    expected, tasks = {}, {}
    for task in ("coffee", "pinwheels"):
        entries = []
        for number in range(2):
            name = f"{task}_u{number}"
            (root / "features").mkdir(parents=True, exist_ok=True)
            np.save(root / f"features/{name}.npy", np.zeros((20, 4), np.float32))
            labels = {
                "action": ["pour", "stir"],
                "time_stamp": [[0.0, 0.8], [0.8, 2.0]],
                "error_description": [None, "spilled"],
            }
            entries.append({"video_id": name, "labels": labels})
            expected |= {f"{name}.npy#{t}": "pour" if t < 8 else "stir" for t in range(20)}
        tasks[task] = {"segments": entries}
    put_text(root / "annotation.json", json.dumps(tasks, indent=1))
    return Built("egoper", expected, {"classes": ["pour", "stir"]})


def hdf5_features(root):
    root.mkdir(parents=True, exist_ok=True)
    expected = {}
    with h5py.File(root / "features.h5", "w") as file:
        for number, name in enumerate(("video01", "video02")):
            labels = np.array([(t + number) // 3 % 2 for t in range(9)])
            file[f"{name}/features"] = np.zeros((9, 4), np.float32)
            file[f"{name}/labels"] = labels
            key = f"features.h5#{name}/features"
            expected |= {f"{key}#{t}": k for t, k in enumerate(labels.tolist())}
    dataset = {
        "kind": "sequences",
        "uri": "{root}/features.h5",
        "labels": {"arrays": "{folder}/labels"},
        "classes": ["a", "b"],
        "clip": {"frames": None},
    }
    return Built(None, expected, dataset=dataset)


def epic_kitchens(root):
    """Frames from 1; segments of one video overlap, and the first holds."""
    header = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame"
    rows, expected = [], {}
    for name in ("P01_01", "P02_03"):
        for number in range(1, 13):
            photo(root / f"rgb_frames/{name}/frame_{number:010d}.jpg", number)
        for start, stop, verb in ((1, 6, 2), (5, 10, 0)):
            rows.append(
                f"{name}_{start},{name[:3]},{name},00:00:00.01,00:00:00.20,{start},{stop},{verb}"
            )
            for frame in range(start, stop):
                expected.setdefault(f"{name}#{frame - 1}", verb)
    put_text(root / "EPIC_100_train.csv", f"{header},stop_frame,verb_class", *rows)
    return Built("epic-kitchens", expected, {"classes": ["take", "put", "wash"]})


def kinetics_folders(root):
    names = ["abseiling/x_000001_000011", "abseiling/y_000001_000011", "zumba/z_000010_000020"]
    for name in names:
        touched(root / f"train/{name}.mp4")
    expected = {f"{name}.mp4": name.partition("/")[0] for name in names}
    return Built("kinetics-folders", expected, {"classes": ["abseiling", "zumba"]})


def jigsaws(root):
    expected = {}
    for number in (1, 2):
        stem = f"Suturing_B00{number}"
        touched(root / f"video/{stem}_capture1.avi")
        touched(root / f"video/{stem}_capture2.avi")
        spans = [(3, 7, "G1"), (8, 8, "G5"), (9, 20 + number, "G11")]
        put_text(root / f"transcriptions/{stem}.txt", *(f"{a} {b} {name} " for a, b, name in spans))
        for first, last, name in spans:
            for frame in range(first - 1, last):
                expected[f"{stem}_capture1.avi#{frame}"] = name
    return Built("jigsaws", expected, {"classes": ["G1", "G5", "G11"]})


def breakfast(root):
    expected = {}
    for cook in ("P03", "P04"):
        key = f"{cook}/cam01/{cook}_cereals.avi"
        touched(root / key)
        spans = [(1, 30, "SIL"), (31, 33, "take_bowl"), (34, 40, "SIL")]
        put_text(root / f"{key}.labels", *(f"{a}-{b} {name}  " for a, b, name in spans))
        for first, last, name in spans:
            for frame in range(first - 1, last):
                expected[f"{key}#{frame}"] = name
    return Built("breakfast", expected, {"classes": ["SIL", "take_bowl"]})
