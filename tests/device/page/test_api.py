"""The HTTP interface with the real server, learner and state file."""

from __future__ import annotations

import gzip
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest

from device.learner import Learner

from .conftest import MODEL, PATIENCE, STATIC, Client, Scene, Serve


def test_static_files_are_compressed_and_cached(client: Client) -> None:
    """Compressed where the browser supports it; not sent again on a second visit."""
    plain = client.get("/app.js")
    packed = client.get("/app.js", Accept_Encoding="gzip, br")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    again = client.get("/app.js", If_None_Match=packed.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["content-security-policy"]
    assert client.get("/style.css", If_None_Match=packed.headers["etag"]).status == 200
    # a visit does not load the pictures: only an installation as an app does
    files = [path.name for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".svg", ".webmanifest")]
    sizes = [
        len(client.get(f"/{name}", Accept_Encoding="gzip").body) for name in ("", "lang/en.json", *files)
    ]
    assert min(sizes) > 100
    assert sum(sizes) < 48 * 1024


def test_teaching_two_labels_changes_the_prediction(client: Client, scene: Scene) -> None:
    """After two holds, the two scenes are distinguished."""
    assert client.until(lambda event: event["frame"] > 0)["prediction"] is None
    client.teach("mug")
    scene.show("blue")
    client.look()
    client.teach("plant")
    assert client.sees("plant")["probability"] > 0.5
    scene.show("red")
    assert client.sees("mug")["scores"].keys() == {"mug", "plant"}


def test_a_sample_is_taught_with_its_label_and_counted(client: Client) -> None:
    """The response arrives when the sample is durable, with the count."""
    assert client.do("/api/teach", label=" mug ", hold="") == {"id": 1, "label": "mug", "samples": 1}
    assert client.counts() == {"mug": 1}


def test_no_frame_is_taught_twice(serve: Serve) -> None:
    """A recording of two frames gives two samples, then a message that explains why there is no third."""
    _, client = serve("fake:red,red,end")
    client.until(lambda event: event["camera"]["condition"] == "ended")
    client.teach("mug", 1)
    answer = client.post("/api/teach", {"label": "mug", "hold": ""})
    assert answer.status == 503
    assert "recording has ended" in answer.json["error"]


def test_undo_reverts_a_whole_hold(client: Client) -> None:
    """Five samples of one press are undone together."""
    client.teach("mug", 2, hold="first")
    client.teach("mug", 5, hold="second")
    undone = client.do("/api/undo")
    assert (undone["undone"], undone["message"]) == (5, "Removed 5 samples of mug.")
    assert client.counts() == {"mug": 2}
    client.do("/api/undo")
    assert client.counts() == {"mug": 0}
    assert client.do("/api/undo") == {"undone": 0, "message": "", "change": {}}


def test_undo_reverts_one_change_after_another_process_has_taught(serve: Serve, tmp_path: Path) -> None:
    """After `edgetl teach` in another terminal, one undo reverts only that change."""
    server, client = serve()
    client.teach("mug", 3)
    capture = server.page.loop.newer(0)
    with Learner.open(server.page.learner.model, tmp_path / "taught.db", threads=1) as other:
        other.learn_one(capture.frame.image, "plant")
    assert client.counts() == {"mug": 3, "plant": 1}
    assert client.do("/api/undo")["message"] == "Removed 1 sample of plant."
    assert client.counts() == {"mug": 3, "plant": 0}


def test_a_label_can_be_added_renamed_and_deleted_before_it_is_taught(client: Client) -> None:
    """Labels without samples are at the end of the list."""
    client.teach("zebra", 1)
    client.do("/api/labels/add", label="ant")
    assert list(client.counts().items()) == [("zebra", 1), ("ant", 0)]
    assert client.do("/api/labels/rename", old="ant", new="bee") == {"label": "bee"}
    assert client.counts() == {"zebra": 1, "bee": 0}
    client.do("/api/labels/delete", label="bee")
    assert client.counts() == {"zebra": 1}


def test_a_taught_label_is_renamed_with_its_samples_and_keeps_its_place(client: Client) -> None:
    """Renaming moves all samples; undo moves them back."""
    client.teach("mug", 2)
    client.teach("plant", 1)
    client.do("/api/labels/rename", old="mug", new="zebra mug")
    assert list(client.counts().items()) == [("zebra mug", 2), ("plant", 1)]
    assert client.do("/api/undo")["message"] == "Renamed zebra mug back to mug."
    assert client.counts() == {"mug": 2, "plant": 1}


def test_a_label_without_samples_keeps_its_place(client: Client) -> None:
    """After undoing its samples, a label can be taught again; deleting removes it."""
    client.teach("mug", 2)
    client.teach("plant", 1)
    client.do("/api/samples/forget", id=1)
    client.do("/api/v1/samples/correct", select={"ids": [2]}, action="relabel", label="plant")
    assert list(client.counts().items()) == [("mug", 0), ("plant", 2)]
    client.do("/api/labels/delete", label="mug")
    assert client.counts() == {"plant": 2}


def test_undoing_a_rename_leaves_no_empty_label(client: Client) -> None:
    """Undoing a rename leaves no empty label of the name that was wrong."""
    client.teach("mug", 1)
    client.do("/api/labels/rename", old="mug", new="cup")
    client.do("/api/undo")
    assert client.counts() == {"mug": 1}


def test_a_label_renamed_by_another_viewer_does_not_come_back(client: Client) -> None:
    """A held button gets an error; a new press may use the old name for something new."""
    client.teach("mug", 1, hold="first")
    client.do("/api/labels/rename", old="mug", new="cup")
    answer = client.post("/api/teach", {"label": "mug", "hold": "first-mug"})
    assert answer.status == 400
    assert "renamed or deleted 'mug' meanwhile" in answer.json["error"]
    assert client.counts() == {"cup": 1}
    client.teach("mug", 1, hold="second")
    assert client.counts() == {"cup": 1, "mug": 1}


def test_two_viewers_who_teach_at_once_never_share_a_frame(client: Client) -> None:
    """Two phones, two buttons: all samples exist, and none is the same frame twice."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(client.teach, label, 8) for label in ("mug", "plant")]:
            done.result()
    assert client.counts() == {"mug": 8, "plant": 8}
    pictures = {client.get(f"/api/samples/{number}.jpg").body for number in range(1, 17)}
    assert len(pictures) == 16  # the grain of the fake camera differs from frame to frame


def test_on_a_full_disk_nothing_is_acknowledged_and_the_page_continues(serve: Serve) -> None:
    """The message shows what to do; earlier samples remain, and teaching works again once there is space."""
    server, client = serve()
    client.teach("mug", 1)
    with server.page.learner.store.database.transaction() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    refused = [client.post("/api/teach", {"label": "mug", "hold": ""}) for _ in range(40)][-1]
    assert refused.status == 507
    assert "free some space and try again" in refused.json["error"]
    kept = client.counts()["mug"]
    assert client.sees("mug")
    with server.page.learner.store.database.transaction() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    client.teach("mug", 1)
    assert client.counts() == {"mug": kept + 1}


def test_deleting_a_label_can_be_undone(client: Client) -> None:
    """An accidental tap can always be undone."""
    client.teach("mug", 2)
    client.do("/api/labels/delete", label="mug")
    assert client.counts() == {}
    assert client.until(lambda event: event["prediction"] is None)
    assert client.do("/api/undo")["message"] == "Restored mug with 2 samples."
    assert client.counts() == {"mug": 2}


def test_samples_have_thumbnails_and_can_be_relabeled_and_forgotten(client: Client) -> None:
    """Correcting one sample changes no other."""
    client.teach("mug", 2)
    client.teach("plant", 1)
    samples = client.ask("/api/samples?limit=10")["samples"]
    assert [(item["id"], item["label"]) for item in samples] == [(3, "plant"), (2, "mug"), (1, "mug")]
    picture = client.get("/api/samples/2.jpg")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.body.startswith(b"\xff\xd8\xff")
    client.do("/api/v1/samples/correct", select={"ids": [2]}, action="relabel", label="plant")
    client.do("/api/samples/forget", id=1)
    assert client.counts() == {"mug": 0, "plant": 2}
    assert client.get("/api/samples/1.jpg").status == 404
    assert [item["id"] for item in client.ask("/api/samples?label=plant&limit=1")["samples"]] == [3]


def test_the_report_is_that_of_the_learner(client: Client, scene: Scene) -> None:
    """Accuracy and confusion come from status()."""
    assert client.ask("/api/report")["report"] is None
    client.teach("mug", 4)
    scene.show("blue")
    client.look()
    client.teach("plant", 4)
    report = client.ask("/api/report")["report"]
    assert report["labels"] == ["mug", "plant"]
    assert sum(map(sum, report["confusion"])) == 8


def test_the_export_is_a_model_file_with_everything_taught(
    client: Client, tmp_path: Path, scene: Scene
) -> None:
    """The download works without the state file of this device."""
    client.teach("mug", 3)
    scene.show("blue")
    client.look()
    client.teach("plant", 3)
    answer = client.get("/api/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="tiny-taught.tflite"'
    exported = tmp_path / "exported.tflite"
    exported.write_bytes(answer.body)
    with Learner.open(exported, None, threads=1) as learner:
        assert learner.labels == ("mug", "plant")


def test_the_name_of_a_download_cannot_break_its_header(serve: Serve, tmp_path: Path) -> None:
    """With quotes, line breaks and letters of any script in the name of the file."""
    model = tmp_path / 'a "b"; c=d\r\nX-Evil: yes Zoë 植物.tflite'
    model.write_bytes(MODEL.read_bytes())
    _, client = serve(model=model)
    client.teach("mug", 1)
    answer = client.get("/api/export")
    assert answer.status == 200
    assert "x-evil" not in answer.headers
    kind, _, name = answer.headers["content-disposition"].partition("; filename*=utf-8''")
    assert kind == "attachment"
    assert unquote(name) == f"{model.stem}-taught.tflite"


def test_an_export_leaves_no_file_on_the_disk(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a complete download and after one that was canceled."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client.teach("mug", 1)
    assert client.get("/api/export").status == 200
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET /api/export HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode())
        connection.recv(1)
    client.until(lambda event: not list(tmp_path.glob("edgetl-*")))


def test_uncertain_frames_are_queued_and_labeled(client: Client, scene: Scene) -> None:
    """An unknown scene is queued once, and its label teaches it."""
    client.teach("mug", 5)
    scene.show("blue")
    client.look()
    client.teach("plant", 5)
    before = client.until(lambda event: True)["queue"]
    scene.show("yellow")
    client.until(lambda event: event["queue"] > before)
    doubts = client.ask("/api/doubts")["doubts"]
    newest = max(doubt["id"] for doubt in doubts)
    assert client.get(f"/api/doubts/{newest}.jpg").body.startswith(b"\xff\xd8\xff")
    client.do("/api/v1/doubts/teach", ids=[newest], label="lemon")
    assert client.counts()["lemon"] == 1
    assert newest not in [doubt["id"] for doubt in client.ask("/api/doubts")["doubts"]]
    assert client.post("/api/v1/doubts/teach", {"ids": [newest], "label": "lemon"}).status == 404
    for doubt in client.ask("/api/doubts")["doubts"]:
        client.do("/api/v1/doubts/drop", ids=[doubt["id"]])


def test_a_restart_keeps_everything_taught(serve: Serve, scene: Scene) -> None:
    """The server stores nothing but the state file."""
    first, client = serve()
    client.teach("mug", 3)
    scene.show("blue")
    client.look()
    client.teach("plant", 2)
    first.close()
    _, again = serve()
    assert again.counts() == {"mug": 3, "plant": 2}
    assert again.sees("plant")
    assert len(again.ask("/api/samples")["samples"]) == 5


def test_errors_are_json(client: Client) -> None:
    """Every error has a suitable status and a message, and none has a traceback."""
    client.teach("mug", 1)
    cases = [
        ("/api/labels/add", {"label": ""}, 400, "must not be empty"),
        ("/api/labels/add", {"label": "mug"}, 400, "exists already"),
        ("/api/labels/add", {"label": "a\nb"}, 400, "line breaks"),
        ("/api/labels/rename", {"old": "no", "new": "mug"}, 400, "no label 'no'"),
        ("/api/labels/delete", {"label": "no"}, 400, "no label 'no'"),
        ("/api/samples/forget", {"id": 99}, 404, "99"),
        ("/api/samples/forget", {"id": "1"}, 400, "id must be a number"),
        ("/api/samples/forget", {"id": True}, 400, "id must be a number"),
        ("/api/teach", {"label": "mug"}, 400, "must be an object with label, hold"),
        ("/api/teach", [], 400, "must be an object"),
        ("/api/teach", b"{", 400, "is not JSON"),
        ("/api/teach", b"[" * 16000, 400, "is not JSON"),
        ("/api/teach", b"\xff", 400, "is not JSON"),
    ]
    for path, body, status, message in cases:
        answer = client.post(path, body)
        assert answer.status == status, (path, body, answer.body)
        assert message in answer.json["error"]
        assert b"Traceback" not in answer.body
    assert client.get("/api/samples?limit=-1").status == 400
    assert client.get("/api/samples?limit=999999999999").status == 400
    assert client.get("/api/samples/99.jpg").status == 404
    assert client.counts() == {"mug": 1}


def test_labels_of_any_script_are_returned_unchanged(client: Client) -> None:
    """Markup is text like any other."""
    for label in ("<img src=x onerror=alert(1)>", 'Zoë\'s "mug" & co', "植物", "../../etc/passwd"):
        client.do("/api/labels/add", label=label)
        assert label in client.counts()
        client.do("/api/labels/delete", label=label)
